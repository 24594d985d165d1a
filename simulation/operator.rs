//! The operator, who makes limits and changes them.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::limit::{Capacity, Definition};
use ledger_limiter::registry::AdminError;
use tokio::time::sleep;

use crate::callers::Service;
use crate::limits::{Planned, Role};
use crate::random::Random;

pub(crate) struct Operator {
    service: Arc<Service>,
    random: Random,
}

impl Operator {
    pub(crate) fn new(service: Arc<Service>, random: Random) -> Self {
        Self { service, random }
    }

    /// Makes all limits, each at a replica of its own.
    pub(crate) async fn make_limits(&mut self) {
        for Planned { definition, .. } in self.service.swarm.limits.clone() {
            self.put_until_done(definition).await;
        }
    }

    /// Changes limits until callers begin nothing new, then gives them back what they had.
    pub(crate) async fn run(&mut self) {
        let changing: Vec<Definition> = self.changing().collect();
        while self.service.goes_on() {
            sleep(Duration::from_millis(self.random.between(50, 900))).await;
            if changing.is_empty() {
                continue;
            }
            let definition = self.random.pick(&changing).clone();
            match self.random.below(10) {
                0 => self.delete(definition).await,
                1 => self.reset(definition).await,
                _ => {
                    let capacity = self.random.between(1, 2 * definition.capacity.get());
                    let capacity = Capacity::new(capacity).expect("not zero");
                    self.put(Definition { capacity, ..definition }).await;
                }
            }
        }
        for definition in changing {
            self.put_until_done(definition).await;
        }
    }

    fn changing(&self) -> impl Iterator<Item = Definition> {
        let changing = self.service.swarm.limits.iter().filter(|planned| planned.role == Role::Changes);
        changing.map(|planned| planned.definition.clone())
    }

    fn replica(&mut self) -> usize {
        self.random.below(self.service.swarm.replicas as u64) as usize
    }

    async fn put_until_done(&mut self, definition: Definition) {
        while self.put(definition.clone()).await.is_none() {
            self.service.pause(&mut self.random).await;
        }
    }

    async fn put(&mut self, definition: Definition) -> Option<()> {
        let (replica, question) = (self.replica(), ("put", definition.clone()));
        let put = self.service.ask(replica, &question, Duration::ZERO, move |engine| async move {
            engine.admin().put(&definition).await
        });
        put.await.map(|_| self.service.history.count("changes of limits"))
    }

    async fn delete(&mut self, definition: Definition) {
        let (replica, question) = (self.replica(), ("delete", definition.key.clone()));
        let delete = self.service.ask(replica, &question, Duration::ZERO, move |engine| async move {
            engine.admin().delete(&definition.key).await
        });
        if delete.await.is_some() {
            self.service.history.count("deletions of limits");
        }
    }

    async fn reset(&mut self, definition: Definition) {
        let (replica, question) = (self.replica(), ("reset", definition.key.clone()));
        let reset = self.service.ask(replica, &question, Duration::ZERO, move |engine| async move {
            match engine.admin().reset(&definition.key).await {
                Err(AdminError::UnknownKey(_) | AdminError::Deleted(_)) => Ok(false),
                other => other.map(|_| true),
            }
        });
        if reset.await.is_some() {
            self.service.history.count("resets of limits");
        }
    }
}
