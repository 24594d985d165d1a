//! Standard error as the destination of the log, with a ceiling on bytes per second. Whatever callers do, the log fills no
//! disk faster than that.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::config::LogFormat;

/// Writes log lines while they are within the ceiling, and drops the others. Then one line tells how many were dropped.
pub struct CappedLog<W> {
    state: Mutex<State<W>>,
    bytes_per_second_max: u64,
    format: LogFormat,
}

struct State<W> {
    out: W,
    second_began: Instant,
    written_bytes: u64,
    dropped_lines: u64,
}

impl<W: Write> CappedLog<W> {
    /// Writes to `out`, at most `bytes_per_second_max` in a second, and the line about dropped ones.
    pub fn new(out: W, bytes_per_second_max: u64, format: LogFormat) -> Self {
        let state = State { out, second_began: Instant::now(), written_bytes: 0, dropped_lines: 0 };
        Self { state: Mutex::new(state), bytes_per_second_max, format }
    }

    /// Writes the text of one line at this time, or drops it.
    fn write_at(&self, now: Instant, line: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.second_began) >= Duration::from_secs(1) {
            (state.second_began, state.written_bytes) = (now, 0);
        }
        let bytes = line.len() as u64;
        if state.written_bytes.saturating_add(bytes) > self.bytes_per_second_max {
            state.dropped_lines += 1;
            return Ok(());
        }
        state.written_bytes += bytes;
        let dropped = std::mem::take(&mut state.dropped_lines);
        if dropped > 0 {
            let message = self.dropped_message(dropped);
            state.out.write_all(message.as_bytes())?;
        }
        state.out.write_all(line)
    }

    fn dropped_message(&self, lines: u64) -> String {
        let max = self.bytes_per_second_max;
        let text = format!("{lines} log lines were dropped: more than {max} bytes in a second");
        match self.format {
            LogFormat::Text => format!("WARN {text} (log.bytes_per_second_max)\n"),
            LogFormat::Json => format!("{{\"level\":\"WARN\",\"fields\":{{\"message\":\"{text}\"}}}}\n"),
        }
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for CappedLog<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

/// The destination of one line, which the subscriber writes in one piece.
pub struct Line<'a, W>(&'a CappedLog<W>);

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_at(Instant::now(), line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_ceiling_are_dropped_and_counted() {
        let mut out = Vec::new();
        let log = CappedLog::new(&mut out, 20, LogFormat::Text);
        let start = Instant::now();
        let write = |after_ms, line: &[u8]| {
            log.write_at(start + Duration::from_millis(after_ms), line).expect("it is written");
        };
        (0..100).for_each(|_| write(0, b"1234567\n"));
        write(500, b"a long line in the same second\n");
        write(1_000, b"after\n");
        write(1_001, b"next\n");
        let text = String::from_utf8(out).expect("text");
        let dropped =
            "WARN 99 log lines were dropped: more than 20 bytes in a second (log.bytes_per_second_max)\n";
        assert_eq!(text, format!("1234567\n1234567\n{dropped}after\nnext\n"));
    }
}
