//! `ratelimiterd man`: the manual pages.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{CliError, Exit};

const FOLDER: &str = "folder";

pub(super) fn command() -> Command {
    Command::new("man").about("Writes the manual pages, one for each subcommand").arg(
        Arg::new(FOLDER)
            .value_name("FOLDER")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("Where the pages go; it is made if it is not there"),
    )
}

pub(super) fn run(matches: &ArgMatches, program: Command) -> Result<Exit, CliError> {
    if let Some(folder) = matches.get_one::<PathBuf>(FOLDER) {
        let failed = |source| CliError::Manual { path: folder.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(program, folder).map_err(failed)?;
    }
    Ok(Exit::Done)
}
