//! The state of one scenario.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use cucumber::World;
use ledger_limiter::limit::LeaseId;
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use super::driver::{Driver, Site};
use super::words::{self, Amounts};
use crate::fixtures;

/// The backend of the scenario with its replicas, and the calls so far.
#[derive(Default, World)]
pub struct Scenario {
    site: Option<Box<dyn Site>>,
    replicas: Vec<Box<dyn Driver>>,
    calls: HashMap<String, Call>,
    /// The answers to the latest batch, each as the name of its call and the answer in words.
    pub batch: Vec<[String; 2]>,
}

/// A call that the feature names: its lease and its latest outcomes.
#[derive(Debug)]
pub struct Call {
    lease: LeaseId,
    pub reservation: Option<ReserveOutcome>,
    pub completion: Option<CompleteOutcome>,
}

impl Scenario {
    pub async fn set_up(&mut self, site: impl Site + 'static) {
        self.site = Some(Box::new(site));
        self.start_replica().await;
    }

    fn site(&self) -> &dyn Site {
        self.site.as_deref().expect("it is set up before the first step")
    }

    pub async fn start_replica(&mut self) {
        let replica = self.site().start().await;
        self.replicas.push(replica);
    }

    pub async fn pass(&self, time: Duration) {
        self.site().pass(time).await;
    }

    /// The replica of steps that name none.
    pub fn replica(&self) -> &dyn Driver {
        self.replica_at(0)
    }

    pub fn replica_at(&self, index: usize) -> &dyn Driver {
        self.replicas.get(index).expect("the scenario has that replica").as_ref()
    }

    pub fn replicas(&self) -> &[Box<dyn Driver>] {
        &self.replicas
    }

    pub fn call(&self, name: &str) -> &Call {
        self.calls.get(name).expect("the call was made")
    }

    /// The lease of a call; a fresh one if the name is new.
    fn lease(&mut self, name: &str) -> LeaseId {
        self.call_mut(name).lease
    }

    fn call_mut(&mut self, name: &str) -> &mut Call {
        let fresh = || Call { lease: fixtures::lease(), reservation: None, completion: None };
        self.calls.entry(name.to_owned()).or_insert_with(fresh)
    }

    /// Reserves for the calls in one batch.
    pub async fn reserve(&mut self, replica: usize, items: &[(String, Amounts)]) {
        let batch: Vec<_> = items
            .iter()
            .map(|(name, amounts)| fixtures::reserve(self.lease(name), &amounts.of_limits()))
            .collect();
        let answers = self.replica_at(replica).reserve(&batch).await;
        assert_eq!(answers.len(), items.len(), "one outcome per item");
        self.batch.clear();
        for ((name, _), answer) in items.iter().zip(answers) {
            self.batch.push([name.clone(), words::of_reservation(&answer)]);
            self.call_mut(name).reservation = Some(answer);
        }
    }

    /// Completes the calls in one batch.
    pub async fn complete(&mut self, replica: usize, items: &[(String, Amounts)]) {
        let batch: Vec<_> = items
            .iter()
            .map(|(name, amounts)| fixtures::complete(self.lease(name), &amounts.of_limits()))
            .collect();
        let answers = self.replica_at(replica).complete(&batch).await;
        assert_eq!(answers.len(), items.len(), "one outcome per item");
        self.batch.clear();
        for ((name, _), answer) in items.iter().zip(answers) {
            self.batch.push([name.clone(), words::of_completion(&answer)]);
            self.call_mut(name).completion = Some(answer);
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("calls", &self.calls)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
