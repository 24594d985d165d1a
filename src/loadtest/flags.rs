//! The flags of the program.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};
use ledger_limiter::server::config;

/// The sections of the service's settings that a limiter in this process takes too.
const BACKEND_SECTIONS: [&str; 2] = ["memory.", "tigerbeetle."];

/// The program's command line.
pub(crate) fn command() -> Command {
    Command::new("ratelimiter-loadtest")
        .about("Offers load to a ratelimiterd, or to a limiter in this process, and tells what came of it")
        .version(env!("CARGO_PKG_VERSION"))
        .args(of_target())
        .group(ArgGroup::new("loaded").args(["target", "backend"]).required(true))
        .args(of_workload())
        .args(of_run())
        .args(backend_settings().map(|(name, default)| {
            Arg::new(name.clone())
                .long(config::flag(&name))
                .value_name("VALUE")
                .conflicts_with("target")
                .help(format!("{name} of a limiter in this process [default: {default}]"))
        }))
}

/// The settings of the service that are flags here too, and their defaults.
pub(crate) fn backend_settings() -> impl Iterator<Item = (String, impl std::fmt::Display)> {
    let of_backend = |name: &str| BACKEND_SECTIONS.iter().any(|section| name.starts_with(section));
    config::names().into_iter().filter(move |(name, _)| of_backend(name))
}

fn of_target() -> [Arg; 3] {
    [
        value("target", "URL", "The service, http://HOST:PORT"),
        value("backend", "BACKEND", "A limiter in this process, over this ledger")
            .value_parser(["memory", "tigerbeetle"]),
        flag("no-setup", "Takes the limits as they are instead of making them first"),
    ]
}

fn of_workload() -> [Arg; 10] {
    [
        number("batch", "1", "Items of a call; 1 takes the single endpoints"),
        value("prefix", "TEXT", "What the keys of the limits begin with").default_value("loadtest"),
        number("limits", "100", "How many limits, with --llm how many groups of four"),
        number("requirements", "1", "How many rolling limits a reserve takes from").conflicts_with("llm"),
        flag("llm", "A reserve takes a request, tokens, a slot and daily tokens of a model"),
        value("order", "ORDER", "In which order limits are taken from")
            .value_parser(["random", "round-robin"])
            .default_value("random"),
        value(
            "amount",
            "N",
            "What is taken of each limit, with --llm how many tokens [default: 1; 1000 with --llm or --complete below]",
        )
        .value_parser(value_parser!(u64).range(1..)),
        number("capacity", "1000000000000", "The capacity of each limit"),
        number("window-seconds", "60", "The window of each rolling limit, and the timeout of slots"),
        value("complete", "WHICH", "What is completed: none; all; or below, all at half of what was reserved")
            .value_parser(["none", "all", "below"])
            .default_value("none"),
    ]
}

fn of_run() -> [Arg; 8] {
    [
        value("duration", "TIME", "How long is measured").default_value("10s"),
        value("warmup", "TIME", "How long load is offered before that").default_value("2s"),
        number("concurrency", "64", "How many callers, each with a connection and one call at a time"),
        value("threads", "N", "How many threads [default: one for each core]")
            .value_parser(value_parser!(NonZeroUsize)),
        value("rate", "N", "Offers so many reserves a second, whatever the answers [default: a closed loop]")
            .conflicts_with("profile"),
        value(
            "profile",
            "PROFILE",
            "The same with a changing rate: constant:RATE, ramp:FROM:TO, step:RATE:RATE..., burst:BASE:PEAK:EVERY_SECONDS:FOR_SECONDS",
        ),
        flag(
            "retry",
            "Denied callers wait their hint and come back with a new lease; an unknown outcome is asked again with the same",
        ),
        value("json", "FILE", "Writes the report there too").value_parser(value_parser!(PathBuf)),
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
    fn the_flags_are_well_formed() {
        command().debug_assert();
    }
}
