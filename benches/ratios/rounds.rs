//! Medians over several short rounds, with both sides measured in turn, because other programs disturb the machine.

use crate::failure::Failure;

/// The median and range of several rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Two sides that were measured in turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) ours: Spread,
    pub(crate) theirs: Spread,
    /// The ratio of each round: ours over theirs.
    pub(crate) ratio: Spread,
}

impl Spread {
    /// The median and the range of values.
    pub(crate) fn of(mut values: Vec<f64>) -> Result<Self, Failure> {
        values.sort_by(f64::total_cmp);
        match (values.first(), values.get(values.len() / 2), values.last()) {
            (Some(&min), Some(&upper), Some(&max)) => {
                // The median of an even number of values is the mean of the two in the middle.
                let lower = values.get((values.len() - 1) / 2).copied().unwrap_or(upper);
                Ok(Self { median: f64::midpoint(lower, upper), min, max })
            }
            _ => Err(Failure::Nothing),
        }
    }

    /// Measures one side in several rounds.
    pub(crate) fn of_rounds(
        rounds: usize,
        mut measure: impl FnMut() -> Result<f64, Failure>,
    ) -> Result<Self, Failure> {
        Self::of((0..rounds).map(|_| measure()).collect::<Result<_, _>>()?)
    }
}

impl Pair {
    /// Measures two sides in turn: ours, theirs, ours, theirs.
    pub(crate) fn of_rounds(
        rounds: usize,
        mut ours: impl FnMut() -> Result<f64, Failure>,
        mut theirs: impl FnMut() -> Result<f64, Failure>,
    ) -> Result<Self, Failure> {
        Self::of((0..rounds).map(|_| Ok((ours()?, theirs()?))).collect::<Result<_, Failure>>()?)
    }

    /// The spreads of rounds of ours and theirs.
    pub(crate) fn of(rounds: Vec<(f64, f64)>) -> Result<Self, Failure> {
        let ratio = Spread::of(rounds.iter().map(|(ours, theirs)| ours / theirs).collect())?;
        let (ours, theirs) = rounds.into_iter().unzip();
        Ok(Self { ours: Spread::of(ours)?, theirs: Spread::of(theirs)?, ratio })
    }
}
