//! Tables for people.

use super::paint::{Paint, Style};

/// The space between two columns.
const GAP: usize = 2;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

/// Rows under a heading. A column is as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table {
    columns: &'static [(&'static str, Align)],
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain }
    }

    pub(super) fn styled(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }
}

impl Table {
    pub(super) fn new(columns: &'static [(&'static str, Align)]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The lines of the table, the heading first.
    pub(super) fn lines(&self, paint: Paint) -> Vec<String> {
        let heading: Vec<Cell> =
            self.columns.iter().map(|(name, _)| Cell::styled(Style::Bold, *name)).collect();
        let all = || std::iter::once(&heading).chain(&self.rows);
        let width = |index: usize| all().filter_map(|row| row.get(index)).map(Cell::width).max();
        let widths: Vec<usize> = (0..self.columns.len()).map(|index| width(index).unwrap_or(0)).collect();
        all().map(|row| self.line(row, &widths, paint)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        // Spaces are written only before a text, so no line ends in them.
        let mut pending = 0;
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(self.columns) {
            let space = width.saturating_sub(cell.width());
            let (before, after) = match align {
                Align::Left => (0, space),
                Align::Right => (space, 0),
            };
            if cell.text.is_empty() {
                pending += width + GAP;
                continue;
            }
            line.push_str(&" ".repeat(pending + before));
            line.push_str(&paint.text(cell.style, &cell.text));
            pending = after + GAP;
        }
        line
    }
}

impl Cell {
    /// In characters: keys are ASCII, and units rarely hold wide characters.
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[(&str, Align)] = &[("KEY", Align::Left), ("FREE", Align::Right), ("UNIT", Align::Left)];

    fn lines(rows: &[[&str; 3]]) -> Vec<String> {
        let mut table = Table::new(COLUMNS);
        for row in rows {
            table.push(row.iter().map(|text| Cell::new(*text)).collect());
        }
        table.lines(Paint::off())
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_spaces() {
        let rows = [["a", "60000", ""], ["tenant:b", "1", "é"], ["", "", "x"]];
        assert_eq!(
            lines(&rows),
            ["KEY        FREE  UNIT", "a         60000", "tenant:b      1  é", "                 x",]
        );
    }

    #[test]
    fn a_table_without_rows_has_its_heading() {
        assert_eq!(lines(&[]), ["KEY  FREE  UNIT"]);
    }
}
