//! What `top` shows after looks and keys.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::Sort;
use super::*;

/// Rows with a key, a capacity, and what is available.
fn rows(of: &[(&str, u64, u128)]) -> Vec<Row> {
    let row = |&(key, capacity, available): &(&str, u64, u128)| Row {
        key: key.to_owned(),
        kind: "rolling",
        capacity,
        available,
        reserved: u128::from(capacity) - available,
        debt: 0,
        decreases_to: None,
        change_per_second: 0.0,
    };
    of.iter().map(row).collect()
}

/// A state after two looks, two seconds apart.
fn state() -> State {
    let mut state = State::new("http://service");
    let start = Instant::now();
    state.look(rows(&[("a:rpm", 10, 10), ("b:tpm", 100, 100), ("c:rpm", 10, 5)]), start);
    let after = rows(&[("a:rpm", 10, 6), ("b:tpm", 100, 0), ("c:rpm", 10, 5)]);
    state.look(after, start + Duration::from_secs(2));
    state
}

fn press(state: &mut State, keys: &[KeyCode]) -> Step {
    keys.iter().fold(Step::Continue, |_, key| state.press(KeyEvent::from(*key)))
}

fn shown(state: &State) -> Vec<&str> {
    state.shown().into_iter().map(|row| row.key.as_str()).collect()
}

#[test]
fn rows_are_sorted_by_what_the_user_chose() {
    let mut state = state();
    for (sort, keys) in [
        (Sort::Tightest, ["b:tpm", "c:rpm", "a:rpm"]),
        (Sort::Busiest, ["b:tpm", "a:rpm", "c:rpm"]),
        (Sort::Reserved, ["b:tpm", "c:rpm", "a:rpm"]),
        (Sort::Debt, ["a:rpm", "b:tpm", "c:rpm"]),
        (Sort::Key, ["a:rpm", "b:tpm", "c:rpm"]),
        (Sort::Tightest, ["b:tpm", "c:rpm", "a:rpm"]),
    ] {
        assert_eq!((state.sort, shown(&state).as_slice()), (sort, &keys[..]));
        press(&mut state, &[KeyCode::Char('s')]);
    }
}

#[test]
fn keys_search_move_and_end() {
    let search = |text: &str| text.chars().map(KeyCode::Char).collect::<Vec<_>>();
    for (keys, step, found, selected) in [
        (vec![], Step::Continue, 3, 0),
        (vec![KeyCode::Char('q')], Step::End, 3, 0),
        (vec![KeyCode::Esc], Step::End, 3, 0),
        (search("/rpm"), Step::Continue, 2, 0),
        // A letter of a search is no command.
        (search("/q"), Step::Continue, 0, 0),
        ([search("/q"), vec![KeyCode::Backspace]].concat(), Step::Continue, 3, 0),
        ([search("/rpm"), vec![KeyCode::Enter, KeyCode::Down]].concat(), Step::Continue, 2, 1),
        ([search("/rpm"), vec![KeyCode::Enter, KeyCode::Esc]].concat(), Step::Continue, 3, 0),
        ([search("/rpm"), vec![KeyCode::Esc]].concat(), Step::Continue, 3, 0),
        (vec![KeyCode::Down; 9], Step::Continue, 3, 2),
        (vec![KeyCode::End], Step::Continue, 3, 2),
        (vec![KeyCode::End, KeyCode::Up], Step::Continue, 3, 1),
        (vec![KeyCode::PageDown, KeyCode::PageUp], Step::Continue, 3, 0),
        // Fewer rows move the selection.
        ([vec![KeyCode::End], search("/b")].concat(), Step::Continue, 1, 0),
    ] {
        let mut state = state();
        let last = press(&mut state, &keys);
        assert_eq!((last, shown(&state).len(), state.selected), (step, found, selected), "{keys:?}");
    }
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state().press(interrupt), Step::End);
}

/// The lines of a screen of this width.
fn screen(state: &State, width: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, 6)).expect("a terminal");
    terminal.draw(|frame| view::draw(frame, state)).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..6).map(line).collect()
}

#[test]
fn the_screen_shows_bars_numbers_and_changes() {
    assert_eq!(
        screen(&state(), 130),
        [
            "http://service   3 of 3 limits   sorted by tightest",
            "USED            KEY                                         KIND              CAPACITY   AVAILABLE    RESERVED     DEBT   CHANGE/S",
            "██████████ 100% b:tpm                                       rolling                100           0         100        0      -50.0",
            "█████       50% c:rpm                                       rolling                 10           5           5        0",
            "████        40% a:rpm                                       rolling                 10           6           4        0       -2.0",
            "/ search   s sort   up, down, page keys move   q quit",
        ]
    );
    assert_eq!(
        screen(&state(), 100)[1..5],
        [
            "USED            KEY                             CAPACITY   AVAILABLE    RESERVED     DEBT   CHANGE/S",
            "██████████ 100% b:tpm                                100           0         100        0      -50.0",
            "█████       50% c:rpm                                 10           5           5        0",
            "████        40% a:rpm                                 10           6           4        0       -2.0",
        ]
    );
}

#[test]
fn long_numbers_are_not_cut() {
    let mut state = State::new("http://service");
    let start = Instant::now();
    let largest = (1 << 63) - 1;
    state.look(rows(&[("a", largest, largest.into())]), start);
    state.look(rows(&[("a", largest, 0)]), start + Duration::from_secs(1));
    let screen = screen(&state, 100);
    assert!(screen[2].ends_with("   9.22e18           0     9.22e18        0   -9.22e18"), "{screen:?}");
}

#[test]
fn a_failed_look_is_told_and_the_rows_stay() {
    let mut state = state();
    state.fail("no answer".to_owned());
    let screen = screen(&state, 100);
    assert_eq!(screen[5], "no answer");
    assert!(screen[2].contains("b:tpm"));
    state.look(rows(&[]), Instant::now());
    assert_eq!(state.failure, None);
    assert_eq!(shown(&state), [""; 0]);
}
