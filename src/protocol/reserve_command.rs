//! What the body of a reserve asks for: to take, to take in any case, or only to look.

use super::error::CommandError;
use super::reserve::{
    Requirement, RequirementBody, Reserve, ReserveAnswer, ReserveBody, ReserveOutcome, texts,
};
use crate::limit::{Amount, LeaseId, LimitKey};

/// What a reserve asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveCommand {
    /// Everything or nothing is reserved.
    Take(Reserve),
    /// The same, if anything is free of some more limits.
    TakeIfFree {
        /// What is reserved.
        take: Reserve,
        /// The limits of which something must be free, each with the amount 1.
        free: Reserve,
    },
    /// Everything is taken, whatever is free. The excess is debt.
    Force(Reserve),
    /// Nothing is taken: the answer tells whether it would be granted.
    Look(Reserve),
}

/// The outcome of a [`ReserveCommand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The outcome of a reserve.
    Reserved(ReserveOutcome),
    /// The outcome of a look: a reserve would be denied so now.
    Looked(ReserveOutcome),
    /// The outcome of a look: a reserve would be granted now.
    LookedFree {
        /// The limits in shadow mode that would deny.
        would_deny: Box<[LimitKey]>,
    },
}

/// A requirement of a body. Without an amount it asks whether anything is free.
struct Wanted {
    key: LimitKey,
    amount: Option<Amount>,
}

impl ReserveBody {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_command(self) -> Result<ReserveCommand, String> {
        let lease = LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))?;
        let wanted = |(index, body): (usize, RequirementBody)| {
            let invalid =
                |field: &str, error: &dyn std::fmt::Display| format!("requirements[{index}].{field} {error}");
            let key = LimitKey::parse(&body.key).map_err(|error| invalid("key", &error))?;
            let amount = (body.amount > 0).then(|| Amount::new(body.amount)).transpose();
            Ok(Wanted { key, amount: amount.map_err(|error| invalid("amount", &error))? })
        };
        let wanted: Result<Vec<_>, String> = self.requirements.into_iter().enumerate().map(wanted).collect();
        let command = ReserveCommand::new(lease, self.job_id, &wanted?, self.dry_run, self.force);
        command.map_err(|error| error.to_string())
    }
}

impl ReserveCommand {
    /// Checks what a body asks for; the error begins with the name of the first bad field.
    fn new(
        lease: LeaseId,
        job_id: String,
        wanted: &[Wanted],
        dry_run: bool,
        force: bool,
    ) -> Result<Self, CommandError> {
        if dry_run && force {
            return Err(CommandError::ForceWithDryRun);
        }
        if let Some(index) = wanted.iter().position(|it| force && it.amount.is_none()) {
            return Err(CommandError::ForceOfNothing { index });
        }
        // Counts and keys are checked over all limits that are named.
        let all = Reserve::new(lease, job_id.clone(), requirements(wanted, |it| Some(it.at_least_1())))?;
        if force {
            return Ok(Self::Force(all));
        }
        if dry_run || wanted.iter().all(|it| it.amount.is_none()) {
            return Ok(Self::Look(all));
        }
        let free = requirements(wanted, |it| it.amount.is_none().then_some(Amount::ONE));
        if free.is_empty() {
            return Ok(Self::Take(all));
        }
        let take = Reserve::new(lease, job_id.clone(), requirements(wanted, |it| it.amount))?;
        Ok(Self::TakeIfFree { take, free: Reserve::new(lease, job_id, free)? })
    }

    /// What it takes or looks at, without the limits of which something must be free.
    pub fn reserve(&self) -> &Reserve {
        match self {
            Self::Take(reserve) | Self::Force(reserve) | Self::Look(reserve) => reserve,
            Self::TakeIfFree { take, .. } => take,
        }
    }

    /// Every limit that it names.
    pub fn keys(&self) -> impl Iterator<Item = &LimitKey> {
        let free = match self {
            Self::Take(_) | Self::Force(_) | Self::Look(_) => &[],
            Self::TakeIfFree { free, .. } => free.requirements(),
        };
        self.reserve().requirements().iter().chain(free).map(|requirement| &requirement.key)
    }
}

impl Wanted {
    fn at_least_1(&self) -> Amount {
        self.amount.unwrap_or(Amount::ONE)
    }
}

/// The requirements with the amount that `amount` gives each; without those to which it gives none.
fn requirements(wanted: &[Wanted], amount: impl Fn(&Wanted) -> Option<Amount>) -> Vec<Requirement> {
    let requirement = |it: &Wanted| Some(Requirement { key: it.key.clone(), amount: amount(it)? });
    wanted.iter().filter_map(requirement).collect()
}

impl From<CommandOutcome> for ReserveAnswer {
    fn from(outcome: CommandOutcome) -> Self {
        match outcome {
            CommandOutcome::Reserved(outcome) | CommandOutcome::Looked(outcome) => Self::from(outcome),
            CommandOutcome::LookedFree { would_deny } => {
                Self { allowed: true, would_deny: texts(&would_deny), ..Self::failed("") }
            }
        }
    }
}
