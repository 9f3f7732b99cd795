syntax = "proto3";
message Histogram { fixed64 metric = 1; fixed64 series = 2; sfixed64 time_ms = 3; sint32 schema = 4; double count = 5; double sum = 6; double zero_threshold = 7; double zero_count = 8; repeated sint32 positive_index = 9; repeated double positive_counts = 10; repeated sint32 negative_index = 11; repeated double negative_counts = 12; repeated double custom_bounds = 13; uint32 reset_hint = 14; }
message TotalBatch { repeated fixed64 metric = 1; repeated fixed64 series = 2; repeated sfixed64 time_ms = 3; repeated double value = 4; repeated fixed64 batch = 5; repeated Histogram histograms = 6; repeated fixed64 histogram_batch = 7; }
message WalRecord { string tenant = 1; fixed64 received_at = 2; TotalBatch request = 3; }
message WalBatch { repeated WalRecord records = 1; }
