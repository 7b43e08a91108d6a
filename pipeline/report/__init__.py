"""``mbo report``: runs as one HTML page that needs nothing but a browser.

``choose`` finds the runs, ``curves``, ``fills``, ``depth`` and ``origin`` gather what is drawn,
``figures`` writes the tables, ``page`` puts it together with the files of ``static/``.  Figures
are those of the lake (``runs`` and ``breakdowns``), never computed anew; what is drawn is thinned
to what a screen can show, and says so.
"""
