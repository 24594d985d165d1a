//! Measures every goal as a ratio inside one run, and prints a table. `scripts/bench` builds the measured programs
//! first, then runs this.

mod access;
mod echo;
mod failure;
mod in_process;
mod load;
mod machine;
mod measures;
mod processes;
mod redis;
mod report;
mod rounds;
mod tigerbeetle_client;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ledger_limiter::telemetry::with_sources;

use failure::Failure;
use measures::{MEASURES, Measure, Pace, resident};
use report::Section;

fn main() -> ExitCode {
    match run(&command().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            writeln!(std::io::stderr(), "error: {}", with_sources(&failure)).ok();
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let names = MEASURES.iter().map(|measure| measure.name);
    let count = Arg::new("count").required(true).value_parser(value_parser!(usize));
    Command::new("ratios")
        .about("Measures every goal as a ratio inside one run; scripts/bench runs it")
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("NAME[,NAME]")
                .value_delimiter(',')
                .value_parser(names.collect::<Vec<_>>())
                .help("Runs only these measurements"),
        )
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("Short rounds, only to see that everything runs"),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Also writes the table to this file"),
        )
        // Cargo passes `--bench` when it runs benches, but not when it runs benches as tests.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .subcommand(Command::new("echo").hide(true).arg(Arg::new("address").required(true)))
        .subcommand(Command::new("idle-limits").hide(true).arg(count.clone()))
        .subcommand(Command::new("live-leases").hide(true).arg(count))
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let count = |matches: &ArgMatches| matches.get_one("count").copied().unwrap_or_default();
    match matches.subcommand() {
        Some(("echo", matches)) => {
            echo::serve(matches.get_one::<String>("address").map_or("127.0.0.1:0", String::as_str))
        }
        Some(("idle-limits", matches)) => print_number(resident::bytes_per_idle_limit(count(matches))?),
        Some(("live-leases", matches)) => print_number(resident::bytes_per_live_lease(count(matches))?),
        // The parser refuses every other subcommand.
        Some(_) | None if matches.get_flag("bench") => measure(matches),
        Some(_) | None => Ok(()),
    }
}

/// Prints a number for the parent process.
fn print_number(number: f64) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{number}").map_err(Failure::file("the number cannot be printed"))
}

fn measure(matches: &ArgMatches) -> Result<(), Failure> {
    let pace = if matches.get_flag("quick") { Pace::Quick } else { Pace::Full };
    let output = matches.get_one::<PathBuf>("output").map(PathBuf::as_path);
    let only: Vec<&String> = matches.get_many("only").into_iter().flatten().collect();
    let wanted =
        |measure: &&Measure| only.is_empty() || only.iter().any(|name| name.as_str() == measure.name);
    let head = machine::head(pace);
    let mut sections = Vec::new();
    for measure in MEASURES.iter().filter(wanted) {
        writeln!(std::io::stderr(), "measuring {}", measure.name).ok();
        let outcome = (measure.run)(pace);
        if let Err(failure) = &outcome {
            writeln!(std::io::stderr(), "{} failed: {}", measure.name, with_sources(failure)).ok();
        }
        sections.push(Section { name: measure.name, outcome, note: measure.note });
        // Saves after each measurement, so that an interrupted run keeps the finished ones.
        save(output, &report::render(&head, &sections))?;
    }
    let table = report::render(&head, &sections);
    writeln!(std::io::stdout(), "{table}").map_err(Failure::file("the table cannot be printed"))
}

fn save(output: Option<&Path>, table: &str) -> Result<(), Failure> {
    output.map_or(Ok(()), |path| report::write(path, table))
}
