//! `ratelimiterd top`: a live view of the tightest and busiest limits in a terminal.
//!
//! | file | what it is |
//! | --- | --- |
//! | `mod.rs` | looks at the service, reads keys, and draws |
//! | `state.rs` | what is shown, and what a key does; without a terminal |
//! | `row.rs` | what is shown of one limit |
//! | `view.rs` | draws the state |

mod row;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use ledger_limiter::client::{CallError, Http, LimitInfo, LimitsOf};
use ledger_limiter::telemetry::with_sources;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::limits::{self, LimitsError};
use super::{CliError, Exit};
use row::Row;
use state::{State, Step};

const INTERVAL: &str = "interval-ms";

pub(super) fn command() -> Command {
    Command::new("top")
        .about("Shows the tightest and busiest limits of a running service, live, in a terminal")
        .args(limits::service_flags())
        .args(limits::filter_flags())
        .arg(
            Arg::new(INTERVAL)
                .long(INTERVAL)
                .value_name("N")
                .default_value("2000")
                .value_parser(value_parser!(u64).range(100..))
                .help("The time between two looks at the service, in milliseconds"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit, CliError> {
    let (http, of) = (limits::connect(matches)?, limits::asked_for(matches)?);
    let interval = Duration::from_millis(matches.get_one(INTERVAL).copied().unwrap_or(2_000));
    if !std::io::stdout().is_terminal() {
        return Err(CliError::NoTerminal);
    }
    limits::block_on(async {
        // A bad address or token is an error on the screen that the caller knows.
        let first = http.limits(&of).await.map_err(LimitsError::call("reading the limits"))?;
        let mut state = State::new(limits::url(matches));
        state.look(rows(&first), Instant::now());
        let shown = ratatui::try_init().map_err(CliError::Terminal);
        let ended = match shown {
            Ok(mut terminal) => show(&mut terminal, &mut state, &http, &of, interval).await,
            Err(error) => Err(error),
        };
        ratatui::restore();
        ended.map(|()| Exit::Done)
    })
}

/// Shows limits until a key ends it.
async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    http: &Http,
    of: &LimitsOf,
    interval: Duration,
) -> Result<(), CliError> {
    let mut events = events();
    let mut look = Box::pin(look(http, of, interval));
    loop {
        terminal.draw(|frame| view::draw(frame, state)).map_err(CliError::Terminal)?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => if state.press(key) == Step::End { return Ok(()) },
                // A new size is drawn at once.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(CliError::Terminal(error)),
                None => return Ok(()),
            },
            limits = &mut look => {
                match limits {
                    Ok(limits) => state.look(rows(&limits), Instant::now()),
                    Err(error) => state.fail(with_sources(&error)),
                }
                look.set(self::look(http, of, interval));
            }
        }
    }
}

async fn look(http: &Http, of: &LimitsOf, pause: Duration) -> Result<Vec<LimitInfo>, CallError> {
    tokio::time::sleep(pause).await;
    http.limits(of).await
}

fn rows(limits: &[LimitInfo]) -> Vec<Row> {
    limits.iter().filter_map(Row::of).collect()
}

/// The events of the terminal. A thread of its own waits for them, and ends with the program.
fn events() -> UnboundedReceiver<std::io::Result<Event>> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}
