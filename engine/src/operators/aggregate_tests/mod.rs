//! Model tests of the aggregation operators: random rows, cuts, watermarks and retractions against an
//! answer computed row by row from the definition.

mod expiry;
mod group;
mod model;
mod recording;
mod window;
