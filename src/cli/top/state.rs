//! What `top` shows, and what a key does. Nothing here needs a terminal or a service.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::row::Row;

/// The rows that a page key moves by.
const PAGE: usize = 20;

/// By what the rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// The least free part of the capacity first.
    Tightest,
    /// The fastest change first.
    Busiest,
    Reserved,
    Debt,
    Key,
}

/// Whether to go on after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Continue,
    End,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct State {
    pub(super) url: String,
    rows: Vec<Row>,
    looked_at: Option<Instant>,
    /// Why the last look failed, if it did.
    pub(super) failure: Option<String>,
    pub(super) sort: Sort,
    pub(super) search: String,
    /// Whether keys are a part of the search.
    pub(super) is_typing: bool,
    /// The index of the selected row among those that are shown.
    pub(super) selected: usize,
}

impl Sort {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tightest => "tightest",
            Self::Busiest => "busiest",
            Self::Reserved => "reserved",
            Self::Debt => "debt",
            Self::Key => "key",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Tightest => Self::Busiest,
            Self::Busiest => Self::Reserved,
            Self::Reserved => Self::Debt,
            Self::Debt => Self::Key,
            Self::Key => Self::Tightest,
        }
    }

    /// Sorts rows; those that are equal stay in the order of their keys.
    fn sort(self, rows: &mut [&Row]) {
        match self {
            Self::Tightest => rows.sort_by_key(|row| Reverse(row.used_percent())),
            Self::Busiest => {
                rows.sort_by(|a, b| b.change_per_second.abs().total_cmp(&a.change_per_second.abs()));
            }
            Self::Reserved => rows.sort_by_key(|row| Reverse(row.reserved)),
            Self::Debt => rows.sort_by_key(|row| Reverse(row.debt)),
            Self::Key => {}
        }
    }
}

impl State {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            rows: Vec::new(),
            looked_at: None,
            failure: None,
            sort: Sort::Tightest,
            search: String::new(),
            is_typing: false,
            selected: 0,
        }
    }

    /// Takes over what a look saw, sorted by key.
    pub(super) fn look(&mut self, mut rows: Vec<Row>, now: Instant) {
        if let Some(looked_at) = self.looked_at {
            let seconds = now.duration_since(looked_at).as_secs_f64();
            let before: HashMap<&str, u128> =
                self.rows.iter().map(|row| (row.key.as_str(), row.available)).collect();
            for row in &mut rows {
                if let Some(available) = before.get(row.key.as_str()) {
                    row.compare(*available, seconds);
                }
            }
        }
        (self.rows, self.looked_at, self.failure) = (rows, Some(now), None);
        self.keep_selection();
    }

    /// Takes over that a look failed. The rows of the look before stay.
    pub(super) fn fail(&mut self, failure: String) {
        self.failure = Some(failure);
    }

    /// The rows that the search finds, sorted.
    pub(super) fn shown(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.key.contains(&self.search)).collect();
        self.sort.sort(&mut rows);
        rows
    }

    /// How many limits there are.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::Continue;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Step::End } else { Step::Continue };
        }
        let step = if self.is_typing { self.type_search(key.code) } else { self.command(key.code) };
        self.keep_selection();
        step
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a terminal has many more keys, and they do nothing here"
    )]
    fn type_search(&mut self, key: KeyCode) -> Step {
        match key {
            KeyCode::Char(c) => self.search.push(c),
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.search.clear();
                self.is_typing = false;
            }
            _ => {}
        }
        Step::Continue
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a terminal has many more keys, and they do nothing here"
    )]
    fn command(&mut self, key: KeyCode) -> Step {
        match key {
            KeyCode::Char('q') => return Step::End,
            KeyCode::Esc if self.search.is_empty() => return Step::End,
            KeyCode::Esc => self.search.clear(),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected += PAGE,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(PAGE),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = usize::MAX,
            _ => {}
        }
        Step::Continue
    }

    fn keep_selection(&mut self) {
        let found = self.rows.iter().filter(|row| row.key.contains(&self.search)).count();
        self.selected = self.selected.min(found.saturating_sub(1));
    }
}
