//! Object-safe traits over a backend and its replicas: cucumber's macros take no generics, so the steps cannot name the
//! type of the ledger.

use std::time::Duration;

use cucumber::codegen::LocalBoxFuture;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::Definition;
use ledger_limiter::protocol::{Complete, Reserve};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};
use ledger_limiter::registry::LimitUsage;

use crate::fixtures::{Backend, Replica};

/// Any [`Backend`].
pub trait Site {
    /// Starts another replica.
    fn start(&self) -> LocalBoxFuture<'_, Box<dyn Driver>>;
    /// Lets time pass.
    fn pass(&self, time: Duration) -> LocalBoxFuture<'_, ()>;
}

/// Any [`Replica`].
pub trait Driver {
    /// Reserves in one batch; one outcome per item, in order.
    fn reserve<'a>(&'a self, batch: &'a [Reserve]) -> LocalBoxFuture<'a, Vec<ReserveOutcome>>;
    /// Completes in one batch; one outcome per item, in order.
    fn complete<'a>(&'a self, batch: &'a [Complete]) -> LocalBoxFuture<'a, Vec<CompleteOutcome>>;
    /// Creates or changes a limit.
    fn put(&self, definition: Definition) -> LocalBoxFuture<'_, ()>;
    /// Applies every pending decrease that fits.
    fn apply_decreases(&self) -> LocalBoxFuture<'_, ()>;
    /// A limit and its usage.
    fn info<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, LimitUsage>;
}

impl<B: Backend> Site for B {
    fn start(&self) -> LocalBoxFuture<'_, Box<dyn Driver>> {
        Box::pin(async {
            // Without a lease cache, a replica knows only what the ledger tells it.
            let replica = Replica::start(self.connect(), self.ids(), 0).await;
            Box::new(replica) as Box<dyn Driver>
        })
    }

    fn pass(&self, time: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(Backend::pass(self, time))
    }
}

impl<L: Ledger> Driver for Replica<L> {
    fn reserve<'a>(&'a self, batch: &'a [Reserve]) -> LocalBoxFuture<'a, Vec<ReserveOutcome>> {
        Box::pin(async {
            let answers = self.limiter().reserve_batch(batch).await;
            answers.into_iter().map(|answer| answer.expect("the ledger answers")).collect()
        })
    }

    fn complete<'a>(&'a self, batch: &'a [Complete]) -> LocalBoxFuture<'a, Vec<CompleteOutcome>> {
        Box::pin(async {
            let answers = self.limiter().complete_batch(batch).await;
            answers.into_iter().map(|answer| answer.expect("the ledger answers")).collect()
        })
    }

    fn put(&self, definition: Definition) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            Replica::put(self, definition).await;
        })
    }

    fn apply_decreases(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async { self.admin().apply_decreases().await.expect("the ledger answers") })
    }

    fn info<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, LimitUsage> {
        Box::pin(Replica::info(self, key))
    }
}
