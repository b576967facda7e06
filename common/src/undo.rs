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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_dropped_guard_takes_back_and_a_kept_one_does_not() {
        let undone = Cell::new(0);
        drop(Undo::new(|| undone.set(undone.get() + 1)));
        Undo::new(|| undone.set(undone.get() + 10)).keep();
        assert_eq!(undone.get(), 1);
    }
}
