"""The algebra of instant vectors and range windows, as matrices of series by steps, shared by the query languages. Pure.

A language's evaluator turns its leaves into a ``Vector`` or ``Ranges`` (``selectors``) and applies these to them:

* ``binary.operate``: arithmetic, comparisons and set operators, with a ``matching.Rule``,
* ``aggregation.apply.aggregate``: sum to topk over a ``Grouping``,
* ``ranges.call.call``: one of ``ranges.functions.FUNCTIONS`` over windows,
* ``elementwise``, ``labels`` and ``histograms``: functions of samples, labels and histograms.

Warnings and infos about a result are collected in ``Annotations``.
"""
