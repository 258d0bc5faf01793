//! What the filter is developed, tried and measured with.
