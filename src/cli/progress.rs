//! The bar on a terminal that shows how far long work has come.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use crate::progress::{Progress, Silent};

/// Work that is shorter shows no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// Shows a bar on standard error.
#[derive(Default)]
struct Bar(Mutex<Option<Shown>>);

impl Bar {
    fn shown(&self) -> MutexGuard<'_, Option<Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The step under way.
struct Shown {
    bar: ProgressBar,
    begun: Instant,
}

/// What shows progress to the person: a bar if there is a terminal to show it on and it is `wanted`.
pub(super) fn shown(wanted: bool) -> Box<dyn Progress> {
    if wanted && std::io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Silent) }
}

impl Progress for Bar {
    fn begin(&self, what: &str, total: Option<u64>) {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
            None => "{msg} {binary_bytes} {binary_bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(output::escape(what).into_owned());
        *self.shown() = Some(Shown { bar, begun: Instant::now() });
    }

    fn advance(&self, bytes: u64) {
        if let Some(shown) = &*self.shown() {
            shown.bar.inc(bytes);
            if shown.bar.is_hidden() && shown.begun.elapsed() > PATIENCE {
                shown.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
        }
    }

    fn end(&self) {
        if let Some(shown) = self.shown().take() {
            shown.bar.finish_and_clear();
        }
    }
}
