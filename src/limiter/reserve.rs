use futures_util::future::join_all;

use super::local_denials::{Admission, Tickets};
use super::planned::{Limits, Planned};
use super::{Limiter, LimiterError, ReserveOutcome};
use crate::clock::{NS_PER_MS, unix_ms};
use crate::decide::command::Reserve;
use crate::decide::lease::{Lease, Standing};
use crate::decide::reserve::{self, Denial, Verdict};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, Refusal};
use crate::limit::LimitKey;

impl<L: Ledger> Limiter<L> {
    /// Reserves everything that the command wants, or nothing.
    pub async fn reserve(&self, command: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let mut planned = self.planned(command);
        if !self.is_ready(&planned) {
            planned = self.made_ready(planned).await?;
        }
        let limits = planned.limits();
        let tickets = match self.local_denials.admit(command, &limits, planned.now_ns) {
            Admission::Ask(tickets) => tickets,
            Admission::Deny { key, until_ns } => return Ok(self.deny_for_room(&planned, key, until_ns)),
        };
        let empty = || LedgerError::Unexpected("a reserve without requirements".to_owned());
        let chain = reserve::plan(self.ids, command, &limits, planned.now_ns).ok_or_else(empty)?;
        let outcome = match self.ledger.submit_one(chain).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tickets.unused();
                return Err(error.into());
            }
        };
        match self.conclude_at_once(&planned, &limits, tickets, outcome) {
            Some(answer) => Ok(answer),
            None => self.conclude(command, outcome).await,
        }
    }

    /// Reserves for each command, in order, in one hand-over to the ledger; answers each in its place.
    pub async fn reserve_batch(&self, commands: &[Reserve]) -> Vec<Result<ReserveOutcome, LimiterError>> {
        let planned = self.planned_batch(commands).await;
        let mut chains = Vec::with_capacity(commands.len());
        let mut admissions = Vec::with_capacity(commands.len());
        for planned in planned {
            admissions.push(planned.map(|planned| {
                let admission = self.admit(&planned, &mut chains);
                (planned, admission)
            }));
        }
        let mut outcomes = self.ledger.submit(chains).await.into_iter();
        let mut answers = Vec::with_capacity(commands.len());
        let mut to_look_up = Vec::new();
        for (place, admission) in admissions.into_iter().enumerate() {
            let answer = match admission {
                Err(error) => Err(error),
                Ok((planned, Admission::Deny { key, until_ns })) => {
                    Ok(self.deny_for_room(&planned, key, until_ns))
                }
                Ok((planned, Admission::Ask(tickets))) => match outcomes.next() {
                    Some(Ok(outcome)) => {
                        let answer = self.conclude_at_once(&planned, &planned.limits(), tickets, outcome);
                        answer.ok_or_else(|| {
                            let command = planned.command;
                            to_look_up.push(async move { (place, self.conclude(command, outcome).await) });
                            LedgerError::Unexpected("a lease that was not looked up".to_owned()).into()
                        })
                    }
                    Some(Err(error)) => {
                        tickets.unused();
                        Err(error.into())
                    }
                    None => Err(LedgerError::Unexpected("a chain without an outcome".to_owned()).into()),
                },
            };
            answers.push(answer);
        }
        // Together, so that they share the ledger's requests.
        for (place, answer) in join_all(to_look_up).await {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        answers
    }

    /// Whether the ledger is to be asked; if it is, with which chain.
    fn admit(&self, planned: &Planned<'_>, chains: &mut Vec<Chain>) -> Admission {
        let limits = planned.limits();
        let admission = self.local_denials.admit(planned.command, &limits, planned.now_ns);
        if let Admission::Ask(_) = admission {
            // A command has at least one requirement, so each that asks has its chain.
            chains.extend(reserve::plan(self.ids, planned.command, &limits, planned.now_ns));
        }
        admission
    }

    /// The answer where the outcome of the chain tells it: nearly always.
    fn conclude_at_once(
        &self,
        planned: &Planned<'_>,
        limits: &Limits<'_>,
        tickets: Tickets,
        outcome: ChainOutcome,
    ) -> Option<ReserveOutcome> {
        let room_at_ns = self.learn_headroom(planned.command, limits, tickets, outcome);
        if reserve::doubts_definitions(planned.command, limits, outcome) {
            return None;
        }
        match reserve::interpret(planned.command, limits, outcome).ok()? {
            Verdict::Granted { reserved_at_unix_ms } => {
                planned.granted();
                self.remember(planned, limits, outcome);
                Some(ReserveOutcome::Granted { reserved_at_unix_ms })
            }
            Verdict::Denied { denial: Denial::NoRoom(key), .. } if room_at_ns.is_some() => {
                Some(self.deny_for_room(planned, key, room_at_ns))
            }
            Verdict::Denied { denial, repeated } => Some(self.deny(planned, denial, repeated)),
            Verdict::Recall => None,
        }
    }

    /// The answer where the ledger must be asked once more.
    async fn conclude(
        &self,
        command: &Reserve,
        outcome: ChainOutcome,
    ) -> Result<ReserveOutcome, LimiterError> {
        let mut planned = self.put_in_force(self.planned(command)).await?;
        // A definition that the refusal does not fit to is stale.
        if reserve::doubts_definitions(command, &planned.limits(), outcome) {
            self.read_anew(&planned).await?;
            planned = self.put_in_force(self.planned(command)).await?;
        }
        match reserve::interpret(command, &planned.limits(), outcome)? {
            Verdict::Granted { reserved_at_unix_ms } => Ok(ReserveOutcome::Granted { reserved_at_unix_ms }),
            Verdict::Denied { denial, repeated } => Ok(self.deny(&planned, denial, repeated)),
            Verdict::Recall => self.recall(&planned).await,
        }
    }

    /// Tells what is known of exhausted limits what the ledger said of them. Answers when the one that refused has room, if
    /// that is known.
    fn learn_headroom(
        &self,
        command: &Reserve,
        limits: &Limits<'_>,
        tickets: Tickets,
        outcome: ChainOutcome,
    ) -> Option<u64> {
        match outcome {
            ChainOutcome::Created { timestamp_ns } => tickets.granted(limits, timestamp_ns),
            ChainOutcome::Refused { index, refusal: Refusal::ExceedsCredits }
                if reserve::impossible(command, limits).is_none() =>
            {
                return self.local_denials.refused(tickets, command, limits, index, self.ledger.now_ns());
            }
            ChainOutcome::Refused { .. } => tickets.unused(),
        }
        None
    }

    /// The answer where a limit is known to have no room, until then if that is known.
    fn deny_for_room(&self, planned: &Planned<'_>, key: LimitKey, until_ns: Option<u64>) -> ReserveOutcome {
        let Some((entry, until_ns)) = planned.entry(&key).zip(until_ns) else {
            return self.deny(planned, Denial::NoRoom(key), true);
        };
        let wait_ms = until_ns.saturating_sub(self.ledger.now_ns()).div_ceil(NS_PER_MS);
        let kind = entry.limit.state.definition.kind;
        ReserveOutcome::NoRoom { key, retry_after_ms: self.retry_policy.room_known_ms(kind, wait_ms) }
    }

    fn remember(&self, planned: &Planned<'_>, limits: &Limits<'_>, outcome: ChainOutcome) {
        if let (true, ChainOutcome::Created { timestamp_ns }) = (self.leases.is_on(), outcome)
            && let Some(chain) = reserve::plan(self.ids, planned.command, limits, planned.now_ns)
            && let Some(lease) = Lease::from_grant(planned.command.lease, chain.transfers(), timestamp_ns)
        {
            self.leases.insert(lease);
        }
    }

    pub(super) fn deny(&self, planned: &Planned<'_>, denial: Denial, repeated: bool) -> ReserveOutcome {
        match denial {
            Denial::UnknownKey(key) if planned.too_many.contains(&key) => {
                ReserveOutcome::TooManyInstances { key }
            }
            Denial::UnknownKey(key) => ReserveOutcome::UnknownKey { key },
            Denial::ExceedsCapacity(key) => ReserveOutcome::ExceedsCapacity { key },
            Denial::Decreasing(key) => {
                ReserveOutcome::Decreasing { key, retry_after_ms: self.retry_policy.decreasing_ms }
            }
            Denial::Replaced(key) => ReserveOutcome::NoRoom { key, retry_after_ms: 1 },
            Denial::NoRoom(key) => {
                let hint_ms = planned.entry(&key).map(|entry| {
                    let kind = entry.limit.state.definition.kind;
                    let step_in_ms = entry.limit.schedule.as_ref().and_then(|schedule| {
                        // At least a millisecond: the step is the one behind this moment's.
                        Some(schedule.next_step_ms(planned.now_ns)?.saturating_sub(unix_ms(planned.now_ns)))
                    });
                    // A lease that is sent again is no further call that found no room.
                    let streak = if repeated { entry.denials_in_a_row() } else { entry.denied() };
                    self.retry_policy.no_room_ms(kind, streak, step_in_ms, rand::random())
                });
                ReserveOutcome::NoRoom { key, retry_after_ms: hint_ms.unwrap_or(1) }
            }
        }
    }

    /// The lease was granted before: its transfers tell how it stands.
    async fn recall(&self, planned: &Planned<'_>) -> Result<ReserveOutcome, LimiterError> {
        let command = planned.command;
        let transfers =
            self.ledger.lease_transfers(command.lease, self.ids.of_lease(command.lease).family()).await?;
        let Some(lease) = Lease::from_transfers(command.lease, &transfers) else {
            // An id of it is taken, but not by a reservation of this lease.
            return Ok(ReserveOutcome::LeaseConflict);
        };
        Ok(match lease.standing(self.ids, command, &planned.limits(), self.ledger.now_ns()) {
            Standing::Granted { reserved_at_unix_ms } => ReserveOutcome::Granted { reserved_at_unix_ms },
            Standing::Conflict => ReserveOutcome::LeaseConflict,
            Standing::Settled => ReserveOutcome::LeaseSettled,
        })
    }
}
