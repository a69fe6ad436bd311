//! A list of steps, each with its inverse.
//!
//! Whatever makes a pod, an image or a sandbox is written as a list of steps. The inverse of a step is recorded *before*
//! the step is done, so that a step that fails half-way is undone as well: an inverse must therefore tolerate that there is
//! nothing to undo. On an error, or when the list is dropped unfinished, the inverses run in reverse order; an error of
//! theirs is attached to the first error and never replaces it.

use crate::error::{Error, Result};

type Inverse<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// The inverses of the steps done so far.
#[derive(Default)]
pub struct Steps<'a> {
    done: Vec<(&'static str, Inverse<'a>)>,
}

impl<'a> Steps<'a> {
    /// An empty list.
    pub fn new() -> Self {
        Steps { done: Vec::new() }
    }

    /// Records `inverse`, then does `step`. An error undoes everything done so far, this step included.
    ///
    /// # Errors
    /// The error of `step`, with those of the inverses attached.
    pub fn step<T>(
        &mut self,
        name: &'static str,
        inverse: impl FnOnce() -> Result<()> + 'a,
        step: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.done.push((name, Box::new(inverse)));
        step().map_err(|error| self.undo_after(error))
    }

    /// Does something that leaves nothing behind.
    ///
    /// # Errors
    /// The error of `step`, with those of the inverses attached.
    pub fn check<T>(&mut self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        step().map_err(|error| self.undo_after(error))
    }

    /// The steps stand; nothing will be undone.
    pub fn keep(mut self) {
        self.done.clear();
    }

    /// Undoes all steps, the last one first.
    ///
    /// # Errors
    /// The first inverse that fails, with the others attached; every inverse is tried.
    pub fn undo(&mut self) -> Result<()> {
        let mut first: Option<Error> = None;
        for (name, inverse) in std::mem::take(&mut self.done).into_iter().rev() {
            if let Err(error) = inverse() {
                let error = Error::with_source(format!("cannot undo: {name}"), error);
                first = Some(match first {
                    Some(first) => first.and_undo(error),
                    None => error,
                });
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn undo_after(&mut self, error: Error) -> Error {
        match self.undo() {
            Ok(()) => error,
            Err(undo) => error.and_undo(undo),
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        // Only an unwinding or an early return without `keep` gets here; there is nobody left to tell.
        let _ = self.undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_failing_step_undoes_itself_and_those_before_in_reverse() {
        let log = RefCell::new(Vec::new());
        let note = |what: &'static str| {
            log.borrow_mut().push(what);
            Ok(())
        };
        let mut steps = Steps::new();
        steps.step("a", || note("undo a"), || note("a")).unwrap();
        let error = steps.step("b", || note("undo b"), || Err::<(), _>(Error::new("no"))).unwrap_err();
        assert_eq!(error.one_line(), "no");
        assert_eq!(*log.borrow(), ["a", "undo b", "undo a"]);
    }

    #[test]
    fn an_undo_error_is_attached_and_the_others_still_run() {
        let undone = RefCell::new(0);
        let mut steps = Steps::new();
        steps
            .step(
                "a",
                || {
                    *undone.borrow_mut() += 1;
                    Ok(())
                },
                || Ok(()),
            )
            .unwrap();
        steps.step("b", || Err(Error::new("stuck")), || Ok(())).unwrap();
        let error = steps.check(|| Err::<(), _>(Error::new("no"))).unwrap_err();
        assert_eq!(error.to_string(), "no");
        assert_eq!(error.undo_errors().next().unwrap().one_line(), "cannot undo: b: stuck");
        assert_eq!(*undone.borrow(), 1);
    }

    #[test]
    fn kept_steps_stay() {
        let undone = RefCell::new(false);
        let mut steps = Steps::new();
        steps
            .step(
                "a",
                || {
                    *undone.borrow_mut() = true;
                    Ok(())
                },
                || Ok(()),
            )
            .unwrap();
        steps.keep();
        assert!(!*undone.borrow());
    }
}
