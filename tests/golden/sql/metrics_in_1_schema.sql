syntax = "proto3";
message Histogram { fixed64 metric = 1; fixed64 series = 2; sfixed64 time_ms = 3; sint32 schema = 4; double count = 5; double sum = 6; double zero_threshold = 7; double zero_count = 8; repeated sint32 positive_index = 9; repeated double positive_counts = 10; repeated sint32 negative_index = 11; repeated double negative_counts = 12; repeated double custom_bounds = 13; uint32 reset_hint = 14; }
message Exemplar { fixed64 metric = 1; fixed64 series = 2; sfixed64 time_ms = 3; double value = 4; repeated string label_names = 5; repeated string label_values = 6; bytes trace_id = 7; }
message Series { fixed64 metric = 1; fixed64 series = 2; fixed32 hour = 3; repeated string label_names = 4; repeated string label_values = 5; }
message Family { string name = 1; string type = 2; string unit = 3; string help = 4; fixed32 hour = 5; }
message MetricBatch { repeated fixed64 metric = 1; repeated fixed64 series = 2; repeated sfixed64 time_ms = 3; repeated double value = 4; repeated Histogram histograms = 5; repeated Exemplar exemplars = 6; repeated Series new_series = 8; repeated Family families = 9; }
message WalRecord { string tenant = 1; fixed64 received_at = 2; MetricBatch request = 3; }
message WalBatch { repeated WalRecord records = 1; }
