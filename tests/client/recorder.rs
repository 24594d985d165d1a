//! A transport to a limiter over the memory ledger. It records every call, takes several polls for each call, and loses
//! requests and answers on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger_limiter::client::{
    AttemptResult, CallError, Complete, ErrorKind, Extend, LeaseId, LimitKey, Renew, Requirements, Reserve,
    Transport, Usage,
};
use ledger_limiter::ledger::memory::ManualClock;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::protocol::CompleteOutcome;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// How a call is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is lost: the call is not carried out, and its caller gets no answer.
    RequestLost,
    /// The answer is lost: the call is carried out, and its caller gets no answer.
    AnswerLost,
}

#[derive(Default)]
pub struct Log {
    /// The lease of every reserve, in order.
    pub reserves: Vec<LeaseId>,
    /// The lease of every reserve that was granted.
    pub granted: Vec<LeaseId>,
    /// The lease of every complete.
    pub completes: Vec<LeaseId>,
    /// The lease of every complete that settled it.
    pub settled: Vec<LeaseId>,
}

/// The amounts that are reserved of both limits.
#[derive(Debug, PartialEq, Eq)]
pub struct Reserved {
    pub rpm: u128,
    pub slots: u128,
}

pub struct Recorder {
    pub replica: Replica<MemoryLedger<Arc<ManualClock>>>,
    pub log: Mutex<Log>,
    faults: Mutex<VecDeque<Fault>>,
}

impl Recorder {
    /// A limiter with a rolling limit `rpm` of 100 in an hour, and a concurrency limit `slots` of `slots_max`.
    pub async fn new(slots_max: u64) -> Arc<Self> {
        let backend = MemoryBackend::new();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(rolling("rpm", 100, 3_600)).await;
        replica.put(concurrency("slots", slots_max, 3_600)).await;
        Arc::new(Self { replica, log: Mutex::default(), faults: Mutex::default() })
    }

    pub fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("no panic").extend(faults);
    }

    /// The reserved amounts of both limits.
    pub async fn reserved(&self) -> Reserved {
        let rpm = self.replica.usage("rpm").await.reserved;
        Reserved { rpm, slots: self.replica.usage("slots").await.reserved }
    }

    async fn carry_out<R>(&self, call: impl Future<Output = R>) -> Result<R, CallError> {
        tokio::task::yield_now().await;
        let fault = self.faults.lock().expect("no panic").pop_front();
        let lost = || CallError::unknown(std::io::Error::other("lost"));
        if fault == Some(Fault::RequestLost) {
            return Err(lost());
        }
        let answer = call.await;
        tokio::task::yield_now().await;
        if fault == Some(Fault::AnswerLost) { Err(lost()) } else { Ok(answer) }
    }
}

impl Transport for Recorder {
    async fn reserve(&self, command: &Reserve) -> Result<AttemptResult, CallError> {
        self.log.lock().expect("no panic").reserves.push(command.lease);
        let call = async {
            let outcome = self.replica.limiter().reserve(command).await.expect("the ledger answers");
            if is_granted(&outcome) {
                self.log.lock().expect("no panic").granted.push(command.lease);
            }
            outcome.into()
        };
        self.carry_out(call).await
    }

    async fn complete(&self, command: &Complete) -> Result<(), CallError> {
        self.log.lock().expect("no panic").completes.push(command.lease);
        let call = async {
            let outcome = self.replica.limiter().complete(command).await.expect("the ledger answers");
            if let CompleteOutcome::Settled { .. } = &outcome {
                self.log.lock().expect("no panic").settled.push(command.lease);
            }
            outcome.settled()
        };
        self.carry_out(call).await?.map_err(invalid)
    }

    async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<AttemptResult, CallError>> {
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(self.reserve(command).await);
        }
        outcomes
    }

    async fn complete_batch(&self, commands: &[Complete]) -> Vec<Result<(), CallError>> {
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(self.complete(command).await);
        }
        outcomes
    }

    async fn extend(&self, command: &Extend) -> Result<AttemptResult, CallError> {
        let call =
            async { self.replica.limiter().extend(command).await.expect("the ledger answers").answered() };
        self.carry_out(call).await?.map(AttemptResult::from).map_err(invalid)
    }

    async fn renew(&self, command: &Renew) -> Result<AttemptResult, CallError> {
        let call =
            async { self.replica.limiter().renew(command).await.expect("the ledger answers").answered() };
        self.carry_out(call).await?.map(AttemptResult::from).map_err(invalid)
    }

    async fn usage(&self, key: &LimitKey) -> Result<Option<Usage>, CallError> {
        let usage = self.replica.usage(key.as_str()).await;
        Ok(Some(Usage { available: usage.available, reserved: usage.reserved, debt: usage.debt }))
    }
}

fn invalid(message: String) -> CallError {
    CallError::refused(ErrorKind::InvalidRequest, message)
}

/// The requirements of most tests: 1 of `rpm` and 1 of `slots`.
pub fn one_of_each() -> Requirements {
    super::wants(&[("rpm", 1), ("slots", 1)])
}

/// Longer than any call of these tests takes on paused time.
pub const PAUSE: Duration = Duration::from_secs(60);
