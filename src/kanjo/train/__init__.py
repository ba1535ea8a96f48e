"""Train models, and export them as bundles. The only package that imports torch and Lightning (extra ``train``)."""
