#!/bin/sh
# Creates the bucket and a key with exactly the rights that the service needs in it. Idempotent.
# Expects STORE (URL), MINIO_ROOT_USER, MINIO_ROOT_PASSWORD, S3_REGION, S3_BUCKET, and AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY, which become the key. Uses only the shell and `mc`: the image has little else.
set -eu
policy=bucket-only
file="${TMPDIR:-/tmp}/$policy.json"

printf '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
      "Resource": ["arn:aws:s3:::%s"]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"
      ],
      "Resource": ["arn:aws:s3:::%s/*"]
    }
  ]
}
' "$S3_BUCKET" "$S3_BUCKET" >"$file"

mc alias set store "$STORE" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD"
mc mb --ignore-existing --region "$S3_REGION" "store/$S3_BUCKET"
mc admin policy create store "$policy" "$file"
mc admin user add store "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
# `attach` fails when the policy is attached already.
case "$(mc admin user info store "$AWS_ACCESS_KEY_ID")" in
  *"$policy"*) ;;
  *) mc admin policy attach store "$policy" --user "$AWS_ACCESS_KEY_ID" ;;
esac
