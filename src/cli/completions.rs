//! `ratelimiterd completions`: what a shell needs to complete the command line.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::{CliError, Exit};

const SHELL: &str = "shell";

pub(super) fn command() -> Command {
    Command::new("completions").about("Prints the completions of a shell").arg(
        Arg::new(SHELL)
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("The shell"),
    )
}

pub(super) fn run(matches: &ArgMatches, mut program: Command) -> Result<Exit, CliError> {
    if let Some(shell) = matches.get_one::<Shell>(SHELL) {
        let name = program.get_name().to_owned();
        // The generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut program, name, &mut script);
        std::io::stdout().write_all(&script).map_err(CliError::Output)?;
    }
    Ok(Exit::Done)
}
