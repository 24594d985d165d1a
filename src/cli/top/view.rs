//! Draws the state of `top`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row as TableRow, Table, TableState};

use super::row::Row;
use super::state::State;

/// The characters of a bar.
const BAR: usize = 10;
/// From this percentage of use on a bar is yellow.
const SCARCE_PERCENT: u8 = 90;

/// Terminals narrower than this do without the column of kinds, so that keys have room.
const WIDTH_WITH_KINDS: u16 = 130;
/// From here on a number has an exponent.
const LONG_NUMBER: u128 = 10_000_000_000;

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let [title, body, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    let rows = state.shown();
    frame.render_widget(title_of(state, rows.len()), title);
    let mut selection = TableState::default().with_selected((!rows.is_empty()).then_some(state.selected));
    let shows_kinds = body.width >= WIDTH_WITH_KINDS;
    let table = Table::new(rows.iter().map(|row| line(row, shows_kinds)), widths(shows_kinds))
        .header(header(shows_kinds).style(Modifier::BOLD))
        .row_highlight_style(Modifier::REVERSED);
    frame.render_stateful_widget(table, body, &mut selection);
    frame.render_widget(footer_of(state), footer);
}

fn title_of(state: &State, shown: usize) -> Line<'static> {
    let State { url, sort, .. } = state;
    let (all, sort) = (state.count(), sort.name());
    Line::styled(format!("{url}   {shown} of {all} limits   sorted by {sort}"), Modifier::BOLD)
}

fn footer_of(state: &State) -> Line<'_> {
    if let Some(failure) = &state.failure {
        return Line::styled(failure.as_str(), Color::Red);
    }
    if state.is_typing {
        return Line::from(format!("search: {}_   Enter keeps it, Esc clears it", state.search));
    }
    let search = if state.search.is_empty() { "search" } else { state.search.as_str() };
    Line::styled(format!("/ {search}   s sort   up, down, page keys move   q quit"), Modifier::DIM)
}

/// The widths of the columns. The key takes what the others leave.
fn widths(shows_kinds: bool) -> Vec<Constraint> {
    let kind = shows_kinds.then_some(14).map(Constraint::Length);
    let numbers = [11, 11, 11, 8, 10].map(Constraint::Length);
    [Constraint::Length(15), Constraint::Fill(1)].into_iter().chain(kind).chain(numbers).collect()
}

fn header(shows_kinds: bool) -> TableRow<'static> {
    let kind = shows_kinds.then_some("KIND").map(Cell::from);
    let numbers = ["CAPACITY", "AVAILABLE", "RESERVED", "DEBT", "CHANGE/S"];
    let numbers = numbers.map(|name| right(name.to_owned()));
    TableRow::new([Cell::from("USED"), Cell::from("KEY")].into_iter().chain(kind).chain(numbers))
}

fn line(row: &Row, shows_kinds: bool) -> TableRow<'static> {
    let percent = row.used_percent();
    let colour = match percent {
        100.. => Color::Red,
        SCARCE_PERCENT.. => Color::Yellow,
        _ => Color::Green,
    };
    let capacity = match row.decreases_to {
        Some(to) => format!(">{}", number(to.into())),
        None => number(row.capacity.into()),
    };
    let debt_style = if row.debt > 0 { Style::new().fg(Color::Red) } else { Style::new() };
    let kind = shows_kinds.then_some(row.kind).map(Cell::from);
    let numbers = [
        right(capacity),
        right(number(row.available)),
        right(number(row.reserved)),
        right(number(row.debt)).style(debt_style),
        right(change(row.change_per_second)),
    ];
    let bar = Cell::from(bar(percent)).style(colour);
    TableRow::new([bar, Cell::from(row.key.clone())].into_iter().chain(kind).chain(numbers))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// A number that fits its column: `12345`, or `9.22e18`. A number that is cut would be a wrong one.
fn number(number: u128) -> String {
    if number < LONG_NUMBER { number.to_string() } else { format!("{number:.2e}") }
}

/// A bar and its percentage: `████      40%`.
fn bar(percent: u8) -> String {
    let filled = usize::from(percent) * BAR / 100;
    format!("{}{} {percent:>3}%", "\u{2588}".repeat(filled), " ".repeat(BAR - filled))
}

fn change(per_second: f64) -> String {
    match per_second.abs() {
        0.0 => String::new(),
        1_000_000.0.. => format!("{per_second:+.2e}"),
        _ => format!("{per_second:+.1}"),
    }
}
