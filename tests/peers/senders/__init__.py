"""Programs that the tests start, each as a user of that library would write it."""
