//! Placeholder until the aggregation branch lands.
/// Schema.
pub fn local_window_schema(
    _: &crate::plan::WindowAggregateSpec,
    input: &arrow::datatypes::SchemaRef,
) -> arrow::datatypes::SchemaRef {
    input.clone()
}
