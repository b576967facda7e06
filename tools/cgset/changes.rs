//! What this run has changed, each change with its way back.

use common::undo::Undo;

/// Changes in the order in which they were made; dropped, they are taken back, the last first.
#[derive(Default)]
#[must_use = "dropping it takes everything back"]
pub struct Changes(Vec<Undo<Box<dyn FnOnce()>>>);

impl Changes {
    /// Notes how to take back what has just been done.
    pub fn made(&mut self, take_back: impl FnOnce() + 'static) {
        self.0.push(Undo::new(Box::new(take_back)));
    }

    /// Lets everything stand.
    pub fn keep(mut self) {
        self.0.drain(..).for_each(Undo::keep);
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        while let Some(last) = self.0.pop() {
            drop(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn the_last_change_is_taken_back_first() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut changes = Changes::default();
        for number in [1, 2] {
            let log = Rc::clone(&log);
            changes.made(move || log.borrow_mut().push(number));
        }
        drop(changes);
        assert_eq!(*log.borrow(), [2, 1]);
    }
}
