//! `ratelimiterd limits export`: the definitions of a service as a file for `apply`.

use clap::{Arg, ArgMatches, Command};
use ledger_limiter::client::{Http, LimitsOf};

use super::fields::Fields;
use super::output::Output;
use super::paint::Paint;
use super::plan::Present;
use super::{Exit, LimitsError, PREFIX, prefix_flag, text};

const FORMAT: &str = "format";

pub(super) fn command() -> Command {
    Command::new("export")
        .about("Prints the definitions of limits and templates, as apply reads them")
        .arg(prefix_flag("Only keys that begin with this text"))
        .arg(
            Arg::new(FORMAT)
                .long(FORMAT)
                .value_name("FORMAT")
                .value_parser(["yaml", "json"])
                .default_value("yaml")
                .help("The language of the output"),
        )
}

pub(super) async fn run(http: &Http, matches: &ArgMatches) -> Result<Exit, LimitsError> {
    let of = LimitsOf { prefix: text(matches, PREFIX).to_owned(), template: None };
    let limits = http.limits(&of).await.map_err(LimitsError::call("reading the limits"))?;
    let fields = |limit| Fields::of(&Present::of(limit)?.definition);
    let definitions: Vec<Fields> = limits.into_iter().map(fields).collect::<Result<_, _>>()?;
    let output = Output { is_json: true, paint: Paint::for_stdout() };
    if text(matches, FORMAT) == "json" {
        output.json(&definitions)?;
    } else {
        output.line(yaml(&definitions)?.trim_end())?;
    }
    Ok(Exit::Done)
}

pub(super) fn yaml(definitions: &[Fields]) -> Result<String, LimitsError> {
    // Text of more than a line stays in quotes: a block would change white space at its end.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&definitions, options)
        .map_err(|error| LimitsError::Yaml(error.to_string()))
}
