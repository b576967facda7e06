//! Undo by ownership: what a step made is taken back unless a later line keeps it.

/// Takes a step back when dropped, unless it was kept.
#[must_use = "dropping it takes the step back at once"]
pub struct Undo<F: FnOnce()> {
    take_back: Option<F>,
}

impl<F: FnOnce()> Undo<F> {
    /// Guards a step that has just succeeded.
    pub fn new(take_back: F) -> Self {
        Self { take_back: Some(take_back) }
    }

    /// Lets the step stand.
    pub fn keep(mut self) {
        self.take_back = None;
    }
}

impl<F: FnOnce()> Drop for Undo<F> {
    fn drop(&mut self) {
        if let Some(take_back) = self.take_back.take() {
            take_back();
        }
    }
}

/// Changes in the order in which they were made; dropped, they are taken back, the last first.
#[derive(Default)]
#[must_use = "dropping it takes everything back"]
pub struct Changes<'a>(Vec<Undo<Box<dyn FnOnce() + 'a>>>);

impl<'a> Changes<'a> {
    /// Notes how to take back what has just been done.
    pub fn made(&mut self, take_back: impl FnOnce() + 'a) {
        self.0.push(Undo::new(Box::new(take_back)));
    }

    /// Takes over the changes of a step, which succeeded as a whole.
    pub fn append(&mut self, mut step: Self) {
        self.0.append(&mut step.0);
    }

    /// Lets everything stand.
    pub fn keep(mut self) {
        self.0.drain(..).for_each(Undo::keep);
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        while let Some(last) = self.0.pop() {
            drop(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[test]
    fn a_dropped_guard_takes_back_and_a_kept_one_does_not() {
        let undone = Cell::new(0);
        drop(Undo::new(|| undone.set(undone.get() + 1)));
        Undo::new(|| undone.set(undone.get() + 10)).keep();
        assert_eq!(undone.get(), 1);
    }

    #[test]
    fn the_last_change_is_taken_back_first() {
        let log = RefCell::new(Vec::new());
        let mut changes = Changes::default();
        for number in [1, 2] {
            let log = &log;
            changes.made(move || log.borrow_mut().push(number));
        }
        drop(changes);
        assert_eq!(*log.borrow(), [2, 1]);
    }
}
