//! The report of a run: cucumber repeats the failed scenarios at the end, and only that part is kept.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use cucumber::event::{self, Event};
use cucumber::parser;
use cucumber::writer::{Arbitrary, Basic, Coloring, NonTransforming, Verbosity};
use cucumber::{World, Writer};

/// The text of the report; clones share it.
#[derive(Clone, Default)]
pub struct Report(Rc<RefCell<Vec<u8>>>);

/// Writes only the events after the end of the run, in which cucumber repeats the failures.
pub struct FailureWriter {
    writer: Basic<Report>,
    is_over: bool,
}

impl FailureWriter {
    pub fn new(report: Report) -> Self {
        Self { writer: Basic::raw(report, Coloring::Never, Verbosity::Default), is_over: false }
    }
}

impl<W: World + fmt::Debug> Writer<W> for FailureWriter {
    type Cli = <Basic<Report> as Writer<W>>::Cli;

    async fn handle_event(&mut self, event: parser::Result<Event<event::Cucumber<W>>>, cli: &Self::Cli) {
        let ends = matches!(event.as_deref(), Ok(event::Cucumber::Finished));
        if self.is_over {
            self.writer.handle_event(event, cli).await;
        }
        self.is_over |= ends;
    }
}

impl<W: World + fmt::Debug> Arbitrary<W, String> for FailureWriter {
    async fn write(&mut self, text: String) {
        Arbitrary::<W, _>::write(&mut self.writer, text).await;
    }
}

impl NonTransforming for FailureWriter {}

impl io::Write for Report {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0.borrow()))
    }
}
