//! Scalar and aggregate functions: DataFusion's, and those of Flink SQL that it lacks.
