//! Placeholder until the aggregation branch lands.
/// Schema.
pub fn local_group_schema(
    _: &crate::plan::GroupAggregateSpec,
    input: &arrow::datatypes::SchemaRef,
) -> arrow::datatypes::SchemaRef {
    input.clone()
}
