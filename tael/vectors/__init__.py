"""The algebra of instant vectors and range windows, one matrix of series by steps: no query language's, used by all of them. Pure.

A language's evaluator turns its leaves into ``Vector`` or ``Ranges`` (``selectors``) and applies to them

* ``binary.operate``: arithmetic, comparisons and set operators, with a ``matching.Rule``,
* ``aggregation.apply.aggregate``: sum to topk over a ``Grouping``,
* ``ranges.call.call``: one of ``ranges.functions.FUNCTIONS`` over windows,
* ``elementwise``, ``labels`` and ``histograms``: functions of samples, of labels, of histograms.

What there is to say beside a result goes into ``Annotations``.
"""
