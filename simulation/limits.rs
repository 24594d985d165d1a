//! The limits of a run.

use ledger_limiter::limit::{AllotmentPeriod, Definition};

use crate::fixtures::{concurrency, fixed_window, rolling, sliding_window, template, token_bucket};
use crate::random::Random;

/// Longer than any run: nothing of a strict limit expires before all callers are done.
pub(crate) const STRICT_SECONDS: u64 = 120;
/// How long a unit of a limit with allotments is held.
pub(crate) const DELEGATED_SECONDS: u64 = 2;

/// A limit, and what is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) definition: Definition,
    pub(crate) role: Role,
}

/// What is done with a limit, and may be checked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Callers only reserve and complete. Its history must be linearizable.
    Strict,
    /// Anything but changes of its definition.
    Plain,
    /// An operator changes its capacity, deletes it and makes it again.
    Changes,
    /// A template, of which callers use this many keys.
    Template { keys: u64 },
    /// Replicas hand out allotments of it. Its leases stay at one replica.
    Delegated,
}

/// Two to five limits out of all that there are.
pub(crate) fn draw(random: &mut Random) -> Vec<Planned> {
    let mut all = all(random);
    random.shuffle(&mut all);
    all.truncate(random.between(2, 5) as usize);
    // The order in which definitions are made is a matter of the seed, too.
    all
}

fn all(random: &mut Random) -> Vec<Planned> {
    let mut planned = |role, make: &dyn Fn(u64) -> Definition, from, to| Planned {
        definition: make(random.between(from, to)),
        role,
    };
    let delegated = |definition: Definition, period_ms| {
        let period = AllotmentPeriod::new(period_ms).expect("a valid period");
        definition.with_allotment(period).expect("a limit that can be delegated")
    };
    vec![
        planned(Role::Strict, &|units| concurrency("strict:slots", units, STRICT_SECONDS), 2, 8),
        planned(Role::Strict, &|units| rolling("strict:rolling", units, STRICT_SECONDS), 20, 120),
        planned(Role::Plain, &|units| concurrency("slots", units, 1), 2, 8),
        planned(Role::Plain, &|units| rolling("rolling", units, 1), 3, 20),
        planned(Role::Plain, &|units| token_bucket("bucket", units, 3, 200), 5, 20),
        planned(Role::Plain, &|units| fixed_window("fixed", units, 1, 0), 5, 20),
        planned(Role::Plain, &|units| sliding_window("sliding", units, 2, 4), 5, 20),
        planned(Role::Changes, &|units| concurrency("changing:slots", units, 1), 2, 10),
        planned(Role::Changes, &|units| rolling("changing:rolling", units, 2), 5, 30),
        planned(Role::Changes, &|units| token_bucket("changing:bucket", units, 2, 100), 5, 30),
        planned(Role::Template { keys: 4 }, &|units| template(concurrency("user:{id}", units, 1), 3), 2, 5),
        planned(Role::Template { keys: 3 }, &|units| template(rolling("tenant:{id}", units, 1), 3), 5, 15),
        planned(
            Role::Delegated,
            &|units| delegated(rolling("delegated:rolling", units, DELEGATED_SECONDS), 200),
            30,
            90,
        ),
        planned(
            Role::Delegated,
            &|units| delegated(concurrency("delegated:slots", units, DELEGATED_SECONDS), 300),
            20,
            60,
        ),
    ]
}

impl Planned {
    /// A key that callers use.
    pub(crate) fn key(&self, random: &mut Random) -> String {
        let key = self.definition.key.as_str();
        match self.role {
            Role::Template { keys } => key.replace("{id}", &random.below(keys).to_string()),
            Role::Strict | Role::Plain | Role::Changes | Role::Delegated => key.to_owned(),
        }
    }
}
