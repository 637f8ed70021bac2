//! Options of a sink, and spools by epoch, without a broker.
