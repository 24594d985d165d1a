//! The common alternative: GCRA as a script in Redis, which answers only after its writes are on disk.

use std::process::Command;

use crate::failure::Failure;
use crate::processes::{Redis, run};

/// Keeps the theoretical arrival time of each key, which each grant moves by one interval. Times are in microseconds.
const GCRA: &str = "
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local arrival = tonumber(redis.call('GET', KEYS[1]) or now)
if arrival < now then arrival = now end
local next_arrival = arrival + tonumber(ARGV[1])
local early = next_arrival - now - tonumber(ARGV[2])
if early > 0 then return {0, math.ceil(early / 1000)} end
redis.call('SET', KEYS[1], string.format('%.0f', next_arrival), 'PX', math.ceil((next_arrival - now) / 1000))
return {1, 0}
";

/// One grant for each microsecond and key, with a burst of two seconds. So everything is granted, as in the load on the
/// service.
const INTERVAL_US: &str = "1";
const BURST_US: &str = "2000000";

/// A Redis with the script loaded.
pub(crate) struct Gcra {
    redis: Redis,
    script: String,
    per_second: f64,
}

impl Gcra {
    /// Starts Redis, and measures its rate roughly, which the benchmark program needs to make rounds of a given
    /// duration.
    pub(crate) fn start(connections: usize) -> Result<Self, Failure> {
        let redis = Redis::start()?;
        let mut load = Command::new("redis-cli");
        load.args(["-p", &redis.port.to_string(), "SCRIPT", "LOAD", GCRA]);
        let script = run(&mut load)?.trim().to_owned();
        let mut gcra = Self { redis, script, per_second: 1_000.0 };
        gcra.check_grants()?;
        gcra.per_second = gcra.requests_per_second(connections, 3, 2.0)?;
        gcra.per_second = gcra.requests_per_second(connections, 3, 2.0)?;
        Ok(gcra)
    }

    /// The requests per second that Redis answers on `connections`, with random keys out of `keys`, for about
    /// `seconds`.
    pub(crate) fn requests_per_second(
        &self,
        connections: usize,
        keys: usize,
        seconds: f64,
    ) -> Result<f64, Failure> {
        let requests = format!("{:.0}", (self.per_second * seconds).max(1_000.0));
        let mut benchmark = Command::new("redis-benchmark");
        benchmark.args(["-p", &self.redis.port.to_string(), "-c", &connections.to_string()]);
        benchmark.args(["-n", &requests, "-r", &keys.to_string(), "--csv"]);
        benchmark.args(["EVALSHA", &self.script, "1", "limit:__rand_int__", INTERVAL_US, BURST_US]);
        let text = run(&mut benchmark)?;
        per_second(&text).ok_or_else(|| Failure::Program {
            program: "redis-benchmark".into(),
            message: format!("no rate in {text:?}"),
        })
    }

    /// Checks that the script grants, because the benchmark program ignores the answers.
    fn check_grants(&self) -> Result<(), Failure> {
        let mut ask = Command::new("redis-cli");
        ask.args(["-p", &self.redis.port.to_string(), "EVALSHA", &self.script, "1", "limit:check"]);
        let answer = run(ask.args([INTERVAL_US, BURST_US]))?;
        if answer.split_whitespace().eq(["1", "0"]) { Ok(()) } else { Err(Failure::Load(answer)) }
    }
}

/// The rate: the second field of the last line.
fn per_second(csv: &str) -> Option<f64> {
    let line = csv.lines().rfind(|line| line.starts_with('"'))?;
    let mut fields = line.rsplit("\",\"");
    // The command in the first field may hold commas, so count from the end: six latencies follow the rate.
    fields.nth(6)?.trim_matches('"').parse().ok()
}
