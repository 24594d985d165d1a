//! The progress of a run on standard error: a bar on a terminal, otherwise a line for each part of the run.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep_until;

use crate::measure::Measurements;
use crate::pace::Window;

const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Shows the progress until the measured time ends.
pub(crate) async fn show(started: Instant, window: Window, measured: &Measurements) {
    if std::io::stderr().is_terminal() {
        draw(started, window, measured).await;
    } else {
        // A run goes on if standard error is closed.
        writeln!(std::io::stderr(), "warming up for {:?}", window.begin - started).ok();
        sleep_until(window.begin.into()).await;
        writeln!(std::io::stderr(), "measuring for {:?}", window.end - window.begin).ok();
        sleep_until(window.end.into()).await;
    }
}

async fn draw(started: Instant, window: Window, measured: &Measurements) {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(millis(window.end - started));
    // This version of indicatif accepts the template. If a later one refuses it, the bar keeps its default style.
    if let Ok(style) = ProgressStyle::with_template("{prefix:10} {wide_bar} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut answered = measured.items_answered();
    while Instant::now() < window.end {
        bar.set_prefix(if Instant::now() < window.begin { "warming up" } else { "measuring" });
        let before = std::mem::replace(&mut answered, measured.items_answered());
        let per_second = (answered - before) * 1_000 / millis(REDRAW_INTERVAL);
        bar.set_message(format!("{per_second} reserves/s"));
        bar.set_position(millis(started.elapsed()));
        sleep_until((Instant::now() + REDRAW_INTERVAL).min(window.end).into()).await;
    }
    bar.finish_and_clear();
}
