//! The flags of the program.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};
use ledger_limiter::server::config;

use crate::tls;

/// The sections of the service's settings that also apply to a limiter in this process.
const BACKEND_SECTIONS: [&str; 2] = ["memory.", "tigerbeetle."];

/// The program's command line.
pub(crate) fn command() -> Command {
    Command::new("ratelimiter-loadtest")
        .about(
            "Offers load to a ratelimiterd, or to a limiter in this process, and reports rates and latencies",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .args(target_flags())
        .args(tls::flags())
        .group(ArgGroup::new("loaded").args(["target", "backend"]).required(true))
        .args(workload_flags())
        .args(run_flags())
        .args(backend_settings().map(|(name, default)| {
            Arg::new(name.clone())
                .long(config::flag(&name))
                .value_name("VALUE")
                .conflicts_with("target")
                .help(format!("{name} of a limiter in this process [default: {default}]"))
        }))
}

/// The settings of the service that are also flags of this program, and their defaults.
pub(crate) fn backend_settings() -> impl Iterator<Item = (String, impl std::fmt::Display)> {
    let is_of_backend = |name: &str| BACKEND_SECTIONS.iter().any(|section| name.starts_with(section));
    config::names().into_iter().filter(move |(name, _)| is_of_backend(name))
}

fn target_flags() -> [Arg; 4] {
    [
        value("target", "URL", "The service, http://HOST:PORT or https://HOST:PORT"),
        value("token-file", "FILE", "A file with the token to send to the service")
            .env(config::TOKEN_FILE_VARIABLE)
            .hide_env_values(true)
            .value_parser(value_parser!(PathBuf)),
        value("backend", "BACKEND", "A limiter in this process, over this ledger")
            .value_parser(["memory", "tigerbeetle"]),
        flag("no-setup", "Uses existing limits; without it, the program makes them first"),
    ]
}

fn workload_flags() -> [Arg; 11] {
    [
        number("batch", "1", "Items in a call; with 1, calls go to the endpoints for single items"),
        value("prefix", "TEXT", "Prefix of the limits' keys").default_value("loadtest"),
        number("limits", "100", "Number of limits; with --llm, number of groups of four"),
        number("requirements", "1", "Number of rolling limits in a reserve").conflicts_with("llm"),
        flag("llm", "Each reserve takes a request, tokens, a slot and daily tokens of a model"),
        value("order", "ORDER", "Order in which reserves choose limits")
            .value_parser(["random", "round-robin"])
            .default_value("random"),
        value(
            "amount",
            "N",
            "Amount to reserve on each limit; with --llm, number of tokens [default: 1; 1000 with --llm or --complete below]",
        )
        .value_parser(value_parser!(u64).range(1..)),
        number("capacity", "1000000000000", "Capacity of each limit"),
        number("window-seconds", "60", "Window of each rolling limit, and timeout of slots"),
        value("delegate", "WHICH", "Which limits hand out allotments, of one second: none, shared (with --llm all but the daily tokens), or all")
            .value_parser(["none", "shared", "all"])
            .default_value("none"),
        value("complete", "WHICH", "Which leases to complete: none, all, or below (all, with half of the reserved amount)")
            .value_parser(["none", "all", "below"])
            .default_value("none"),
    ]
}

fn run_flags() -> [Arg; 8] {
    [
        value("duration", "TIME", "Duration of the measurement").default_value("10s"),
        value("warmup", "TIME", "Duration of the load before the measurement").default_value("2s"),
        number("concurrency", "64", "Number of callers, each with a connection and one call at a time"),
        value("threads", "N", "Number of threads [default: one for each core]")
            .value_parser(value_parser!(NonZeroUsize)),
        value("rate", "N", "Reserves to offer per second, however slow the answers [default: a closed loop]")
            .conflicts_with("profile"),
        value(
            "profile",
            "PROFILE",
            "As --rate, with a changing rate: constant:RATE, ramp:FROM:TO, step:RATE:RATE..., burst:BASE:PEAK:EVERY_SECONDS:FOR_SECONDS",
        ),
        flag(
            "retry",
            "Retries denied reserves after their hint with a new lease, and calls with an unknown outcome with the same lease",
        ),
        value("json", "FILE", "Also writes the report to this file").value_parser(value_parser!(PathBuf)),
    ]
}

fn value(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).help(help)
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    value(name, "N", help).default_value(default).value_parser(value_parser!(u64).range(1..))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_flags() {
        command().debug_assert();
    }
}
