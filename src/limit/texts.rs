//! The free texts of a definition.

use super::DefinitionError;

/// The longest unit, in bytes.
pub const UNIT_BYTES_MAX: usize = 64;
/// The longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// The unit and the description of a limit, which only people read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    unit: Box<str>,
    description: Box<str>,
}

impl Texts {
    /// Checks the lengths of both texts.
    ///
    /// # Errors
    ///
    /// [`DefinitionError::TextTooLong`] for the first text that is longer than allowed.
    pub(super) fn new(unit: &str, description: &str) -> Result<Self, DefinitionError> {
        check_length("unit", unit, UNIT_BYTES_MAX)?;
        check_length("description", description, DESCRIPTION_BYTES_MAX)?;
        Ok(Self { unit: unit.into(), description: description.into() })
    }

    /// What the amounts of the limit count, such as `tokens`.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What the limit is for.
    pub fn description(&self) -> &str {
        &self.description
    }
}

fn check_length(field: &'static str, text: &str, bytes_max: usize) -> Result<(), DefinitionError> {
    let bytes = text.len();
    if bytes > bytes_max { Err(DefinitionError::TextTooLong { field, bytes_max, bytes }) } else { Ok(()) }
}
