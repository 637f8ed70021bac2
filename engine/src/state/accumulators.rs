//! Placeholder until the aggregation branch lands.
/// Two phases.
pub fn two_phase(_: &[crate::plan::AggregateCall], _: bool) -> Result<(), String> {
    Err("placeholder".to_string())
}
