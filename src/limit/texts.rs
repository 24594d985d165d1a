use super::DefinitionError;

/// The longest unit, in bytes.
pub const UNIT_BYTES_MAX: usize = 64;
const _: () = assert!(UNIT_BYTES_MAX <= u8::MAX as usize, "texts keep its length in a byte");
/// The longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// What a definition says to people, its unit and its description, in one text: most say little, and there are many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    unit_and_description: Box<str>,
    unit_bytes: u8,
}

impl Texts {
    pub(super) fn new(unit: &str, description: &str) -> Result<Self, DefinitionError> {
        text_in_range("unit", unit, UNIT_BYTES_MAX)?;
        text_in_range("description", description, DESCRIPTION_BYTES_MAX)?;
        // It is below the limit that was checked.
        let unit_bytes = unit.len() as u8;
        Ok(Self { unit_and_description: [unit, description].concat().into(), unit_bytes })
    }

    fn split(&self) -> (&str, &str) {
        self.unit_and_description.split_at(self.unit_bytes.into())
    }

    /// What one unit is: `tokens`.
    pub fn unit(&self) -> &str {
        self.split().0
    }

    /// Free text.
    pub fn description(&self) -> &str {
        self.split().1
    }
}

fn text_in_range(field: &'static str, text: &str, bytes_max: usize) -> Result<(), DefinitionError> {
    let bytes = text.len();
    if bytes > bytes_max { Err(DefinitionError::TextTooLong { field, bytes_max, bytes }) } else { Ok(()) }
}
