//! The speed of the limiter over the memory ledger, on one thread: pairs of reserve and complete, and a hot key.

use std::time::{Duration, Instant};

use ledger_limiter::limit::LimitKey;
use ledger_limiter::protocol::{Complete, Reserve};

use super::Pace;
use crate::failure::Failure;
use crate::in_process::{InProcess, complete, concurrency, key, reserve, rolling};
use crate::report::{Goal, Row};
use crate::rounds::Spread;

/// The commands of one round, built outside the measured time. A round is short, so that an interruption spoils few
/// rounds.
const CHUNK: usize = 2_000;
/// The time of each command. In balance, a window of 1 s holds 10,000 commands.
const STEP: Duration = Duration::from_micros(100);
const WINDOW_SECONDS: u64 = 1;
const ESTIMATE: u64 = 1_200;
const ACTUAL: u64 = 870;

pub(super) const NOTE: &str = "the clock advances by 100 us with each command; the system's clock is read as often as \
    in the service, but its reading is not used. So a window of 1 s holds the last 10,000 commands, and without \
    retention as many reservations expire and are forgotten as are made. Commands are built outside the measured time. \
    A pair reserves a request, tokens, a slot and daily tokens. `at its estimate` names no actual amounts, so that \
    only the slot is released; `below` lowers both amounts of tokens. The hot key is one limit that every reserve \
    names.";

/// The four limits of a call to a model.
struct Model {
    requests: LimitKey,
    tokens: LimitKey,
    slots: LimitKey,
    daily_tokens: LimitKey,
}

/// The actual amounts of a complete.
#[derive(Clone, Copy)]
enum Actuals {
    AsEstimated,
    Below,
}

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let settings = "window 1 s, retention 0, 100 us for each command";
    let pairs = |actuals, what: &str| -> Result<Row, Failure> {
        Ok(Row {
            what: format!("four-limit reserve + complete {what}, memory ledger, one thread"),
            goal: Goal::AtLeast(600_000.0),
            unit: "/s",
            measured: pairs_per_second(actuals, pace)?,
            detail: settings.to_owned(),
        })
    };
    Ok(vec![
        pairs(Actuals::AsEstimated, "at its estimate")?,
        pairs(Actuals::Below, "below")?,
        Row {
            what: "one-limit reserve on a hot key, memory ledger, one thread".to_owned(),
            goal: Goal::AtMost(350.0),
            unit: " ns",
            measured: hot_reserve_ns(pace)?,
            detail: settings.to_owned(),
        },
    ])
}

fn pairs_per_second(actuals: Actuals, pace: Pace) -> Result<Spread, Failure> {
    let store = InProcess::start(STEP)?;
    let model = Model::define(&store)?;
    rounds(pace, || {
        let calls: Vec<(Reserve, Complete)> =
            (0..CHUNK).map(|_| model.call(actuals)).collect::<Result<_, _>>()?;
        let started = Instant::now();
        store.run_pairs(calls.iter().map(|(reserve, complete)| (reserve, complete)))?;
        Ok(CHUNK as f64 / started.elapsed().as_secs_f64())
    })
}

fn hot_reserve_ns(pace: Pace) -> Result<Spread, Failure> {
    let store = InProcess::start(STEP)?;
    let hot = key("hot")?;
    store.define([rolling(&hot, WINDOW_SECONDS)])?;
    rounds(pace, || {
        let commands: Vec<Reserve> = (0..CHUNK).map(|_| reserve(&[(&hot, 1)])).collect::<Result<_, _>>()?;
        let started = Instant::now();
        store.reserve_all(&commands)?;
        Ok(started.elapsed().as_secs_f64() * 1e9 / CHUNK as f64)
    })
}

/// Measures rounds one after another. The first ones fill the store and do not count.
fn rounds(pace: Pace, mut chunk: impl FnMut() -> Result<f64, Failure>) -> Result<Spread, Failure> {
    Spread::of_rounds(pace.pick(50, 10), &mut chunk)?;
    Spread::of_rounds(pace.pick(500, 50), chunk)
}

impl Model {
    fn define(store: &InProcess) -> Result<Self, Failure> {
        let model = Self {
            requests: key("global:llm:openai:gpt-4o:rpm")?,
            tokens: key("global:llm:openai:gpt-4o:tpm")?,
            slots: key("global:llm:openai:gpt-4o:concurrency")?,
            daily_tokens: key("tenant:acme:llm:daily_tokens")?,
        };
        let definitions = [
            rolling(&model.requests, WINDOW_SECONDS),
            rolling(&model.tokens, WINDOW_SECONDS),
            concurrency(&model.slots, WINDOW_SECONDS),
            rolling(&model.daily_tokens, WINDOW_SECONDS),
        ];
        store.define(definitions)?;
        Ok(model)
    }

    fn call(&self, actuals: Actuals) -> Result<(Reserve, Complete), Failure> {
        let Self { requests, tokens, slots, daily_tokens } = self;
        let wanted = [(requests, 1), (tokens, ESTIMATE), (slots, 1), (daily_tokens, ESTIMATE)];
        let reserve = reserve(&wanted)?;
        let used = match actuals {
            Actuals::AsEstimated => Vec::new(),
            Actuals::Below => vec![(tokens, ACTUAL), (daily_tokens, ACTUAL)],
        };
        let complete = complete(reserve.lease, &used)?;
        Ok((reserve, complete))
    }
}
