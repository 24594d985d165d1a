//! Standard output, as text for people or as JSON for scripts.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches};
use serde::Serialize;

use super::LimitsError;
use super::paint::Paint;
use super::table::Table;

const JSON: &str = "json";

/// Where results go. Notes and errors go to standard error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) is_json: bool,
    pub(super) paint: Paint,
}

pub(super) fn json_flag() -> Arg {
    Arg::new(JSON).long(JSON).action(ArgAction::SetTrue).help("Prints JSON for scripts instead of text")
}

impl Output {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        Self { is_json: matches.get_flag(JSON), paint: Paint::for_stdout() }
    }

    pub(super) fn line(self, text: &str) -> Result<(), LimitsError> {
        writeln!(std::io::stdout(), "{text}").map_err(LimitsError::Output)
    }

    pub(super) fn table(self, table: &Table) -> Result<(), LimitsError> {
        table.lines(self.paint).iter().try_for_each(|line| self.line(line))
    }

    /// A whole result, indented.
    pub(super) fn json(self, value: &impl Serialize) -> Result<(), LimitsError> {
        self.line(&serde_json::to_string_pretty(value)?)
    }

    /// One of many results, on one line.
    pub(super) fn json_line(self, value: &impl Serialize) -> Result<(), LimitsError> {
        self.line(&serde_json::to_string(value)?)
    }
}

/// Tells a person something that is not the result.
pub(super) fn note(text: &str) {
    // Without a reader of standard error there is nobody to tell.
    writeln!(std::io::stderr(), "{text}").ok();
}
