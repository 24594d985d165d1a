//! The report: a table of ratios and goals.

use std::fmt::Write as _;
use std::path::Path;

use ledger_limiter::telemetry::with_sources;

use crate::failure::Failure;
use crate::rounds::Spread;

/// The goal of a measured number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// The number is reported without a goal.
    None,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) goal: Goal,
    /// The unit of the number, such as `/s` or `ns`; empty for a ratio.
    pub(crate) unit: &'static str,
    pub(crate) measured: Spread,
    /// The figures behind the number.
    pub(crate) detail: String,
}

/// The rows of one measurement.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) outcome: Result<Vec<Row>, Failure>,
    /// The settings, and which side the measurement may favour.
    pub(crate) note: &'static str,
}

/// The report as Markdown.
pub(crate) fn render(head: &str, sections: &[Section]) -> String {
    let mut text = format!("{head}\n| what | goal | measured | spread | | detail |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for section in sections {
        match &section.outcome {
            Ok(rows) => rows.iter().for_each(|row| text.push_str(&line(row))),
            Err(failure) => {
                let name = section.name;
                // Writing into a string cannot fail.
                writeln!(text, "| {name} | | not measured | | | {} |", with_sources(failure)).ok();
            }
        }
    }
    text.push_str("\nMeasured is the median of several rounds, spread their range. The goal is compared with the number as shown.\n\n## Notes\n\n");
    for section in sections {
        writeln!(text, "- **{}**: {}", section.name, section.note).ok();
    }
    text
}

/// Writes the report into its file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(Failure::file("the folder of the report cannot be created"))?;
    }
    std::fs::write(path, text).map_err(Failure::file("the report cannot be written"))
}

fn line(row: &Row) -> String {
    let Row { what, goal, unit, measured, detail } = row;
    let shown = (measured.median * 100.0).round() / 100.0;
    let (wanted, verdict) = match *goal {
        Goal::AtLeast(goal) => (format!(">= {}{unit}", number(goal)), met(shown >= goal)),
        Goal::AtMost(goal) => (format!("<= {}{unit}", number(goal)), met(shown <= goal)),
        Goal::None => ("none".to_owned(), ""),
    };
    let Spread { median, min, max } = *measured;
    let spread = format!("{} to {}", number(min), number(max));
    format!("| {what} | {wanted} | **{}{unit}** | {spread} | {verdict} | {detail} |\n", number(median))
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// A number with two decimals below 100, else whole with thousands separated.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { grouped(&format!("{value:.0}")) }
}

/// A count with thousands separated.
pub(crate) fn count(number: usize) -> String {
    grouped(&number.to_string())
}

/// Puts commas between the thousands.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
