//! How far a run is: a bar on a terminal, and a line for each part of the run anywhere else.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep_until;

use crate::measure::Measured;
use crate::pace::Window;

const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Tells until the measured time is over.
pub(crate) async fn tell(started: Instant, window: Window, measured: &Measured) {
    if std::io::stderr().is_terminal() {
        draw(started, window, measured).await;
    } else {
        // A closed standard error takes nothing from the run.
        writeln!(std::io::stderr(), "warming up for {:?}", window.begin - started).ok();
        sleep_until(window.begin.into()).await;
        writeln!(std::io::stderr(), "measuring for {:?}", window.end - window.begin).ok();
        sleep_until(window.end.into()).await;
    }
}

async fn draw(started: Instant, window: Window, measured: &Measured) {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(millis(window.end - started));
    // The template is sound; if a later version thinks otherwise, the bar looks plainer.
    if let Ok(style) = ProgressStyle::with_template("{prefix:10} {wide_bar} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut answered = measured.answered_so_far();
    while Instant::now() < window.end {
        bar.set_prefix(if Instant::now() < window.begin { "warming up" } else { "measuring" });
        let before = std::mem::replace(&mut answered, measured.answered_so_far());
        let per_second = (answered - before) * 1_000 / millis(REDRAW_INTERVAL);
        bar.set_message(format!("{per_second} reserves/s"));
        bar.set_position(millis(started.elapsed()));
        sleep_until((Instant::now() + REDRAW_INTERVAL).min(window.end).into()).await;
    }
    bar.finish_and_clear();
}
