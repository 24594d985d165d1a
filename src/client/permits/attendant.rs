use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::error::PermitError;
use super::meter::{Answer, Meter, Told};
use super::queue::{Next, Number};
use crate::ledger::Ledger;

/// Asks the ledger for those who wait, one after the other, until nobody does.
pub(super) async fn attend<L: Ledger>(meter: Arc<Meter<L>>) {
    let mut given_back = meter.limiter.given_back();
    loop {
        let times_given_back = meter.given_back();
        let next = meter.state().queue.next(Instant::now(), times_given_back);
        match next {
            Next::Ask { number, wanted } => {
                let answer = meter.ask(wanted).await;
                tell(&meter, number, answer).await;
            }
            Next::WaitUntil(moment) => tokio::select! {
                () = sleep_until(moment) => {}
                () = meter.changed.notified() => {}
                // The meter has the other end.
                _ = given_back.changed() => {}
            },
            Next::Over => return,
        }
    }
}

async fn tell<L: Ledger>(meter: &Meter<L>, number: Number, answer: Result<Answer<L>, PermitError>) {
    let told = match answer {
        Ok(Answer::Denied(denied)) => return meter.state().queue.denied(number, denied),
        Ok(Answer::Acquired(lease)) => Told::Acquired(lease),
        Err(error) => Told::Error(error),
    };
    let waiter = meter.state().queue.take(number);
    let unheard = match waiter {
        Some(waiter) => waiter.send(told).err(),
        None => Some(told),
    };
    if let Some(Told::Acquired(lease)) = unheard {
        // Waited for, so that the next one finds it. If that fails it is tried further in the background.
        lease.cancel().await.ok();
    }
}
