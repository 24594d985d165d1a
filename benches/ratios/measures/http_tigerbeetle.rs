//! The rate of durable reserves over HTTP, compared with a rate limiter in Redis.

use std::time::Duration;

use super::Pace;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{CpuTime, Service, TigerBeetle};
use crate::redis::Gcra;
use crate::report::{Goal, Row, number};
use crate::rounds::{Pair, Spread};
use crate::tigerbeetle_client::{Session, transfers_per_second};

pub(super) const NOTE: &str = "one requirement, 1,000 limits, a window of 2 s, each round 10 s after 3 s of warm-up, \
    so that every measured second pays for its expiries; three rounds of each side in turn, on one data file that \
    grows. Redis runs GCRA as a script with `appendonly yes`, `appendfsync always`, over 1,000 keys, loaded by \
    `redis-benchmark`. This favours Redis: its load generator is in C, sends neither HTTP nor JSON, and takes far less \
    of the machine than the service's. Its GCRA stores no leases, while a lease can be completed and its reserve \
    repeated. Both answer only after their writes are on disk. Directly: the client crate sends requests without a \
    pause, each of as many pending transfers as there are connections. That is the rate of the same callers if nothing \
    stood between them and TigerBeetle.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let session = Session::connect(&tigerbeetle.address)?;
    let limits = Load::on(&service).limits;
    Load::on(&service).prepare()?;
    session.make_limits(limits)?;
    let rows = |connections| rows(&tigerbeetle, &service, &session, connections, pace);
    let rows: Vec<[Row; 4]> = [64, 256].into_iter().map(rows).collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// The results of a round.
struct Round {
    /// Reserves of the service per second.
    reserves: f64,
    /// The processor time of a reserve in the load generator, the service and TigerBeetle, in microseconds.
    cpu_us: [f64; 3],
    /// Calls of Redis per second.
    redis: f64,
    /// Transfers through the client crate per second.
    directly: f64,
}

/// The rows of one number of connections: the service against Redis, its processor time, and its upper bounds.
fn rows(
    tigerbeetle: &TigerBeetle,
    service: &Service,
    session: &Session,
    connections: usize,
    pace: Pace,
) -> Result<[Row; 4], Failure> {
    let load =
        Load { connections, seconds: pace.pick(10, 2), warmup_seconds: pace.pick(3, 1), ..Load::on(service) };
    let gcra = Gcra::start(connections)?;
    let cpu = || -> Result<[CpuTime; 3], Failure> {
        Ok([CpuTime::of_ended_programs()?, service.cpu()?, tigerbeetle.cpu()?])
    };
    let timeout_seconds = u32::try_from(load.window_seconds).unwrap_or(u32::MAX);
    let (warmup, time) = (Duration::from_secs(load.warmup_seconds), Duration::from_secs(load.seconds));
    let sessions = std::slice::from_ref(session);
    let round = || {
        // The reservations of the round before expire first, so that they cost this round nothing.
        std::thread::sleep(Duration::from_secs(load.window_seconds));
        let before = cpu()?;
        let reserves = load.run(Limits::Keep)?.granted_per_second()?;
        let after = cpu()?;
        // Processor time before and after the calls is counted too, but it is small.
        let calls = reserves * (load.warmup_seconds + load.seconds) as f64;
        let cpu_us = std::array::from_fn(|program| after[program].us_since(before[program]) / calls);
        let redis = gcra.requests_per_second(connections, load.limits, load.seconds as f64)?;
        let directly =
            transfers_per_second(sessions, connections, load.limits, timeout_seconds, warmup, time)?;
        Ok(Round { reserves, cpu_us, redis, directly })
    };
    let rounds: Vec<Round> = (0..pace.pick(3, 1)).map(|_| round()).collect::<Result<_, Failure>>()?;
    let to_redis = |what, goal, side: fn(&Round) -> f64| {
        let pair = Pair::of(rounds.iter().map(|round| (side(round), round.redis)).collect())?;
        let detail = format!("{}/s; Redis {}/s", number(pair.ours.median), number(pair.theirs.median));
        Ok::<_, Failure>(Row { what, goal, unit: "", measured: pair.ratio, detail })
    };
    let cpu_us_of = |program: usize| Spread::of(rounds.iter().map(|round| round.cpu_us[program]).collect());
    let reserves = format!("reserve over HTTP, TigerBeetle, {connections} connections");
    Ok([
        Row {
            what: format!("{reserves}: processor time of a call"),
            goal: Goal::None,
            unit: " us",
            measured: Spread::of(rounds.iter().map(Round::cpu_us_of_a_call).collect())?,
            detail: format!(
                "{} us for the load generator, {} us for the service, {} us for TigerBeetle",
                number(cpu_us_of(0)?.median),
                number(cpu_us_of(1)?.median),
                number(cpu_us_of(2)?.median)
            ),
        },
        to_redis(format!("{reserves} / Redis GCRA, AOF always"), Goal::AtLeast(1.0), |round| round.reserves)?,
        to_redis(
            format!("{reserves}, if no processor were ever idle / Redis GCRA, AOF always"),
            Goal::None,
            |round| processors() * 1e6 / round.cpu_us_of_a_call(),
        )?,
        to_redis(
            format!(
                "client crate directly, {connections} transfers in each request / Redis GCRA, AOF always"
            ),
            Goal::None,
            |round| round.directly,
        )?,
    ])
}

impl Round {
    fn cpu_us_of_a_call(&self) -> f64 {
        self.cpu_us.iter().sum()
    }
}

fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |processors| processors.get() as f64)
}
