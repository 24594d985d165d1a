//! Colours, only for terminals.

use std::io::IsTerminal;

/// How a text looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

/// Colours texts, or leaves them as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// On if standard output is a terminal, and `NO_COLOR` (no-color.org) is unset or empty.
    pub(super) fn for_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { is_on: std::io::stdout().is_terminal() && !is_refused && !is_dumb }
    }

    /// Without colours, for tests.
    #[cfg(test)]
    pub(super) fn off() -> Self {
        Self { is_on: false }
    }

    pub(super) fn text(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Green => "32",
            Style::Yellow => "33",
        };
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A text that other people wrote, safe to print: a control character could make a terminal do something.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_colours() {
        for (is_on, style, expected) in
            [(true, Style::Red, "\x1b[31mno\x1b[0m"), (true, Style::Plain, "no"), (false, Style::Red, "no")]
        {
            assert_eq!(Paint { is_on }.text(style, "no"), expected);
        }
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(printable("a\x1b[2J\nb\u{9b}é"), "a\\u{1b}[2J\\nb\\u{9b}é");
    }
}
