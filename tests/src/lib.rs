//! What the tests of the whole system share: the deterministic simulator, relations between its answers, fuzz targets,
//! and the conformance programs.

pub mod conformance;
pub mod fuzz;
pub mod metamorphic;
pub mod simulation;
